// A webhook receiver with Express: WEBHOOK_SECRET=… PORT=8080 node server.js
//
// POST /webhook     verifies the raw body: do this
// POST /documented  verifies JSON.stringify(req.body), as the published
//                   documentation shows; it works because the sender's JSON
//                   survives being parsed and written again
import express from 'express';

import { documentedHandler } from './documented.js';
import { verifySignature } from './verify.js';

const secret = process.env.WEBHOOK_SECRET;
if (!secret) {
  console.error('WEBHOOK_SECRET is not set');
  process.exit(1);
}

const app = express();

app.post('/documented', express.json({ limit: '1mb' }), documentedHandler(secret));

// Events may come more than once. A real receiver keeps the ids of the last
// days in its database.
const seen = new Set();

app.post('/webhook', express.raw({ type: 'application/json', limit: '1mb' }), (req, res) => {
  if (!Buffer.isBuffer(req.body) || !verifySignature(req.body, req.get('X-PromptReports-Signature'), secret)) {
    return res.status(401).json({ error: 'invalid signature' });
  }
  const event = JSON.parse(req.body);
  const duplicate = seen.has(event.id);
  seen.add(event.id);
  if (!duplicate) {
    console.log(`${event.type} ${event.id}`);
  }
  res.status(200).json({ received: true, duplicate });
});

const server = app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
