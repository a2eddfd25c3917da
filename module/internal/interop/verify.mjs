// Reads checks from standard input, has the library that each names verify a
// request, and writes the answers: whether the library accepted, for each check
// in order. A library that fails in another way than by refusing ends it all.
import crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import { verify as verifyGitHub } from '@octokit/webhooks-methods';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import Stripe from 'stripe';
import { Webhook as SvixWebhook, WebhookVerificationError as SvixVerificationError } from 'svix';
import { verifyWebhookSignature } from '../../../examples/receivers/node/documented.js';
import { verifySignature } from '../../../examples/receivers/node/verify.js';

// refusing turns a library's own error of verification into a refusal.
function refusing(VerificationError, verify) {
  try {
    verify();
    return true;
  } catch (err) {
    if (err instanceof VerificationError) return false;
    throw err;
  }
}

// verifyEd25519 checks the signatures "v1a" as the specification of Standard
// Webhooks says. No official library for JavaScript knows them.
function verifyEd25519(body, headers, publicKey) {
  const raw = Buffer.from(publicKey.replace(/^whpk_/, ''), 'base64');
  const key = crypto.createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') },
    format: 'jwk',
  });
  const content = Buffer.concat([Buffer.from(`${headers['webhook-id']}.${headers['webhook-timestamp']}.`), body]);
  return headers['webhook-signature'].split(' ').some((versioned) => {
    const [version, signature] = versioned.split(',');
    return version === 'v1a' && crypto.verify(null, content, key, Buffer.from(signature, 'base64'));
  });
}

const libraries = {
  standardwebhooks: (body, headers, secret) =>
    refusing(WebhookVerificationError, () => new Webhook(secret).verify(body, headers)),
  'standardwebhooks, raw': (body, headers, secret) =>
    refusing(WebhookVerificationError, () => new Webhook(secret, { format: 'raw' }).verify(body, headers)),
  svix: (body, headers, secret) =>
    refusing(SvixVerificationError, () => new SvixWebhook(secret).verify(body, headers)),
  stripe: (body, headers, secret) =>
    refusing(Stripe.errors.StripeSignatureVerificationError, () =>
      Stripe.webhooks.constructEvent(body, headers['stripe-signature'], secret)),
  octokit: (body, headers, secret) => verifyGitHub(secret, body.toString(), headers['x-hub-signature-256']),
  'node:crypto, ed25519': verifyEd25519,
  'receiver of the README': (body, headers, secret) =>
    verifySignature(body, headers['x-promptreports-signature'], secret),
  'receiver of the documentation': (body, headers, secret) =>
    verifyWebhookSignature(JSON.stringify(JSON.parse(body)), headers['x-promptreports-signature'], secret),
};

const answers = [];
for (const { library, secret, headers, body } of JSON.parse(readFileSync(0, 'utf8'))) {
  answers.push(await libraries[library](Buffer.from(body, 'base64'), headers, secret));
}
process.stdout.write(JSON.stringify(answers));
