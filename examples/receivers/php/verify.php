<?php

// Checks X-PromptReports-Signature over the raw bytes of the request body.
function verify_signature(string $rawBody, string $signature, string $secret): bool
{
    return hash_equals(hash_hmac('sha256', $rawBody, $secret), $signature);
}
