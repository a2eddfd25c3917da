import crypto from 'crypto';

// The verification of the published webhook documentation, as it stands there.
export function verifyWebhookSignature(payload, signature, secret) {
  const expectedSignature = crypto
    .createHmac('sha256', secret)
    .update(payload)
    .digest('hex');
  return crypto.timingSafeEqual(
    Buffer.from(signature),
    Buffer.from(expectedSignature)
  );
}

export function documentedHandler(WEBHOOK_SECRET) {
  return (req, res) => {
    const signature = req.headers['x-promptreports-signature'];
    const payload = JSON.stringify(req.body);
    if (!verifyWebhookSignature(payload, signature, WEBHOOK_SECRET)) {
      return res.status(401).json({ error: 'Invalid signature' });
    }
    // Process the webhook...
    res.status(200).json({ received: true });
  };
}
