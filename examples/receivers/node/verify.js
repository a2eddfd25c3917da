import crypto from 'node:crypto';

// Checks X-PromptReports-Signature over the raw bytes of the request body.
export function verifySignature(rawBody, signature, secret) {
  const expected = crypto.createHmac('sha256', secret).update(rawBody).digest('hex');
  const given = Buffer.from(String(signature ?? ''));
  // timingSafeEqual throws when the lengths differ.
  return given.length === expected.length && crypto.timingSafeEqual(given, Buffer.from(expected));
}
