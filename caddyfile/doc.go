// Package caddyfile reads the webhooks global option and the webhooks
// directive of the Caddyfile: one parse function for each block.
//
// # Global option
//
//	{
//		webhooks {
//			outbox badger [<dir>] {
//				retention   <duration>
//				max_size    <size>
//				min_free    <size>
//				max_pending <count>
//				accept_data_loss
//			}
//			event_types   <type...>
//			header_prefix <prefix>
//			payload       js_stable|exact
//			defaults {
//				...
//			}
//			egress {
//				allow      <cidr...>
//				deny       <cidr...>
//				allow_http
//			}
//			transport http {
//				...
//			}
//			max_in_flight <count>
//			grace_period  <duration>
//			metrics {
//				per_endpoint
//			}
//			endpoint <name> <url> {
//				description   <text>
//				events        <pattern...>
//				filter        <field> <value...>
//				secret        <secret> [<previous...>]
//				sign          hmac [<header>] {
//					algorithm sha256|sha512|sha1
//					encoding  hex|base64
//					value     <template>
//					content   <template>
//				}
//				sign          standard
//				sign          ed25519
//				sign          github
//				sign          stripe [<header>]
//				header        <name> <value>
//				timeout       <duration>
//				retry         [<max_attempts>|off] {
//					schedule  <duration...>
//					backoff   <initial> <max> [<factor>]
//					jitter    <share>
//					max_age   <duration>
//					on_status <code|class...>
//				}
//				disable_after <duration>|off
//				max_in_flight <count>
//				rate_limit    <count> <duration>
//				paused
//				transport http {
//					...
//				}
//			}
//		}
//	}
//
// Options may be left out, and stand in any order. An option that is unknown,
// given twice, or has an argument too many is an error with file and line.
// These may be repeated: event_types, endpoint, events, filter, sign, header,
// allow and deny. A duration is written as 30s, 5m, 1h30m or 4d, a size as
// 512KiB, 1MiB or 10GB.
//
//   - outbox: where events, deliveries and attempts are kept. The directory
//     is {Caddy's data directory}/webhooks unless given. retention is how long
//     finished deliveries and their events are kept (30d). Above max_size
//     (10GiB), or with less than min_free (256MiB) left on the file system, new
//     events are refused with 507; above max_pending (10000000) pending
//     deliveries, with 503. accept_data_loss goes on, once, without what is
//     missing or damaged.
//   - event_types: the catalogue. When given, events of other types are
//     refused, and patterns that match none of it are an error.
//   - header_prefix: what the names of our own headers start with (X-Webhook).
//   - payload: js_stable (the default) sends bytes for which
//     JSON.stringify(JSON.parse(body)) === body; exact sends data and metadata
//     byte for byte.
//   - defaults: any option of an endpoint except events and filter. An
//     endpoint's own option wins; headers are merged by name, and the options
//     of retry one by one, where schedule and backoff count as one.
//   - egress: exceptions to where deliveries may go, which is public addresses
//     by https, and loopback or private addresses which the URL names
//     literally, also by http. It is checked on the address that is dialled.
//     deny wins over allow. allow_http admits http to public hosts.
//   - transport: the transport of reverse_proxy, for all endpoints.
//   - max_in_flight: attempts under way, to all endpoints together (512).
//   - grace_period: how long attempts under way may take to end when Caddy
//     shuts down (5s); 0 does not wait.
//   - metrics: per_endpoint adds the label endpoint.
//
// # Endpoints
//
// A name has 1 to 128 letters, digits and the characters . _ ~ : -, and starts
// with a letter or a digit. The URL is https, or http to localhost or to a
// loopback or private address written as such.
//
//   - events: exact types, prefix.* or *; a leading ! excludes (*).
//   - filter: a field of the event by its dotted path (id, type, timestamp,
//     data.… or metadata.…) and the values, any of which it must have. Repeated
//     filters must all match.
//   - secret: the secret in use, then those before it. Write placeholders,
//     {env.NAME} or {file./path}: they are resolved when the configuration is
//     loaded, and the configuration shows only the placeholder. A literal
//     secret, or {$NAME}, draws a warning. A secret has at least 16 bytes; after
//     whsec_ it is base64 of 24 to 64 bytes. One that starts with whsk_ is a
//     private key for ed25519: base64 of its 32 bytes, or of 64 with the public
//     key at the end.
//   - sign: the signature schemes. ed25519 signs with private keys, every other
//     scheme with shared secrets; a secret of a kind that no scheme signs with
//     is an error. Without sign, shared secrets sign by hmac and standard,
//     private keys by ed25519, and an endpoint without a secret is unsigned.
//     hmac sets one header ({header_prefix}-Signature) to the HMAC of the body,
//     keyed by the first secret as it is written; value may hold {sig},
//     {timestamp} and {id}, content {body}, {timestamp} and {id}. github sets
//     X-Hub-Signature-256 with the first secret, stripe Stripe-Signature with
//     all. standard and ed25519 are Standard Webhooks 1.0.0, with all secrets;
//     together they share webhook-signature. Other schemes are plugins: modules
//     of webhooks.signers.
//   - header: a header of every attempt, which may hold placeholders. Headers
//     that frame a request, those of Standard Webhooks and those that start with
//     header_prefix are reserved.
//   - timeout: of a whole attempt (30s).
//   - retry: how many attempts a delivery gets, the first included; off for
//     one. schedule has the waits between them (5s 5m 30m 2h 5h 10h 14h 20h 24h)
//     of which the last repeats; the number of attempts is one more than the
//     waits unless given. backoff waits from initial to max, growing by factor
//     (2), for 10 attempts unless given. jitter spreads each wait by ± this share
//     (0.2), max_age gives an event up (4d), and on_status names the statuses
//     after which there is another attempt (3xx 408 425 429 5xx).
//   - disable_after: an endpoint that failed for so long without a break (5d)
//     is paused by its next attempt that fails. Its deliveries wait until it is
//     resumed through the management API.
//   - max_in_flight: attempts under way to the endpoint (16).
//   - rate_limit: at most so many attempts start in any such duration, retries
//     and probes included (no limit). All of them may start at once.
//   - paused: deliveries wait.
//
// # Directive
//
//	webhooks [<matcher>] {
//		token          <secret...>
//		origins        <origin...>
//		max_event_size <size>
//		max_batch_size <size>
//		read_timeout   <duration>
//	}
//
// It accepts events, and is ordered before respond. token demands one of the
// secrets as Authorization: Bearer; origins are values of the Origin header
// that are admitted besides the site's own; max_event_size (1MiB) and
// max_batch_size (16MiB) bound a request's body, and read_timeout (10s) the
// time that reading it may take.
package caddyfile
