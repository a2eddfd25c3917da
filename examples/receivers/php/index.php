<?php

// A webhook receiver: WEBHOOK_SECRET=… php -S 127.0.0.1:8080 index.php

require __DIR__ . '/verify.php';

$secret = (string) getenv('WEBHOOK_SECRET');
if ($secret === '') {
    http_response_code(500);
    exit('WEBHOOK_SECRET is not set');
}

$body = file_get_contents('php://input');
if (!verify_signature($body, $_SERVER['HTTP_X_PROMPTREPORTS_SIGNATURE'] ?? '', $secret)) {
    http_response_code(401);
    exit('invalid signature');
}

$event = json_decode($body, true, 64, JSON_THROW_ON_ERROR);
// Events may come more than once: look $event['id'] up in the database here,
// and skip an event that is there already.
error_log($event['type'] . ' ' . $event['id']);

http_response_code(200);
header('Content-Type: application/json');
echo json_encode(['received' => true]);
