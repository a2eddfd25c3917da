'use strict';
// Says what becomes of a text that an app posts: by JSON.parse and
// JSON.stringify, by arithmetic with decimal digits, and by a reader that
// shares nothing with the one it checks.
//
// A question is a length of four bytes (little endian), of what follows it: a
// byte that is 1 for exact payloads, and the text. An answer is a length, and
// "+" with the body or "-" with a refusal as JSON.

const fs = require('fs');

const MAX_DEPTH = 64;
const RECEIPT = Date.parse('2024-01-15T10:30:00.123Z');
const DAY = 24 * 60 * 60 * 1000;
const MEMBERS = ['id', 'type', 'timestamp', 'data', 'metadata'];

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class TooDeep extends Error {
	constructor(at) {
		super('too deep');
		this.at = at;
	}
}

// decimal is the value of a number, in digits and an exponent.
function decimal(text) {
	const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
	const digits = (whole + fraction).replace(/^0+/, '');
	const significant = digits.replace(/0+$/, '');
	if (significant === '') return '0';
	const scale = BigInt(exponent.replace('+', '')) - BigInt(fraction.length) + BigInt(digits.length - significant.length);
	return sign + significant + 'e' + scale;
}

// keeps says whether a number has the same value after JavaScript had it.
function keeps(text) {
	const number = Number(text);
	return Number.isFinite(number) && decimal(text) === decimal(String(number));
}

// Reader goes through JSON that JSON.parse accepts.
class Reader {
	constructor(text, exact) {
		this.text = text;
		this.exact = exact;
		this.pos = 0;
		this.depth = 0;
		this.faults = [];
	}

	fault(status, code, path, at) {
		this.faults.push({ status, code, path, at });
	}

	next() {
		while (this.pos < this.text.length && ' \t\n\r'.includes(this.text[this.pos])) this.pos++;
		return this.text[this.pos];
	}

	string() {
		const from = this.pos++;
		for (;;) {
			const c = this.text[this.pos++];
			if (c === '"') return this.text.slice(from, this.pos);
			if (c === '\\') this.pos++;
		}
	}

	name() {
		const name = JSON.parse(this.string());
		this.next();
		this.pos++;
		this.next();
		return name;
	}

	// items goes through an array or object, and calls for each item.
	items(close, item) {
		if (this.depth++ === MAX_DEPTH) throw new TooDeep(this.pos);
		this.pos++;
		while (this.next() !== close) {
			item();
			if (this.next() === ',') this.pos++;
		}
		this.pos++;
		this.depth--;
	}

	value(path) {
		switch (this.next()) {
		case '{':
			return this.object(path);
		case '[': {
			let index = 0;
			return this.items(']', () => this.value([...path, String(index++)]));
		}
		case '"':
			return this.string();
		case 'f':
			this.pos += 5;
			return;
		case 't':
		case 'n':
			this.pos += 4;
			return;
		}
		const from = this.pos;
		while (this.pos < this.text.length && '+-.eE0123456789'.includes(this.text[this.pos])) this.pos++;
		if (!this.exact && !keeps(this.text.slice(from, this.pos))) this.fault(422, 'not-js-stable', path, from);
	}

	object(path) {
		const names = new Set();
		let twice = null;
		this.items('}', () => {
			const at = this.pos;
			const name = this.name();
			if (names.has(name)) twice ??= { name, at };
			names.add(name);
			this.value([...path, name]);
		});
		if (twice && !this.exact) this.fault(422, 'not-js-stable', [...path, twice.name], twice.at);
	}

	// event reads an event, and returns the text of its members.
	event() {
		if (this.next() !== '{') {
			const at = this.pos;
			this.value([]);
			this.faults = [];
			this.fault(400, 'not-an-object', [], at);
			return {};
		}
		const seen = {};
		this.items('}', () => {
			const at = this.pos;
			const name = this.name();
			const from = this.pos;
			const double = Object.hasOwn(seen, name);
			if (/^(id|type|timestamp|data|metadata)$/iu.test(name)) {
				if (double || !MEMBERS.includes(name)) this.fault(400, 'duplicate-key', [name], at);
			} else {
				this.fault(422, 'unknown-field', [name], at);
			}
			const object = name === 'data' || name === 'metadata';
			if (!double && object && this.text[from] !== '{') this.fault(422, 'invalid-field', [name], from);
			this.value([name]);
			if (double || !MEMBERS.includes(name)) return;
			seen[name] = this.text.slice(from, this.pos);
			if (!object) this.scalar(name, seen[name], from);
		});
		for (const name of ['type', 'data']) {
			if (!Object.hasOwn(seen, name)) this.fault(422, 'missing-field', [name], -1);
		}
		return seen;
	}

	scalar(name, raw, at) {
		const quoted = raw[0] === '"';
		const inner = raw.slice(1, -1);
		switch (name) {
		case 'id':
			if (!quoted || !/^[A-Za-z0-9_~:-]{1,128}$/.test(inner)) this.invalid('invalid-id', name, at);
			break;
		case 'type':
			if (!quoted || inner === '') this.invalid('missing-field', name, at);
			else if (inner.length > 128 || !/^[a-z0-9_]+(\.[a-z0-9_]+)*$/.test(inner)) this.invalid('invalid-type', name, at);
			break;
		case 'timestamp': {
			const time = quoted ? dateTime(JSON.parse(raw)) : NaN;
			if (Number.isNaN(time)) this.invalid('invalid-timestamp', name, at);
			else if (time - RECEIPT > DAY) this.invalid('timestamp-in-future', name, at);
		}
		}
	}

	// invalid notes that a member is refused. What its value holds does not
	// count then, and cannot be in the event.
	invalid(code, name, at) {
		this.faults = this.faults.filter(fault => fault.at < at);
		this.fault(422, code, [name], at);
	}
}

// dateTime reads a date-time of RFC 3339, section 5.6, to the second.
function dateTime(text) {
	const parts = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|([+-])(\d\d):(\d\d))$/i.exec(text);
	if (!parts || text.length > 64) return NaN;
	const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(Number);
	const [hours, minutes] = [Number(parts[8] ?? 0), Number(parts[9] ?? 0)];
	if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60 || hours > 23 || minutes > 59) return NaN;
	const date = new Date(0);
	date.setUTCFullYear(year, month - 1, day);
	if (date.getUTCDate() !== day) return NaN;
	const offset = (hours * 60 + minutes) * (parts[7] === '-' ? -60_000 : 60_000);
	return date.setUTCHours(hour, minute, second) - offset;
}

function refusal(text, { status, code, path, at }) {
	const tokens = path.map(name => '/' + Buffer.from(name).toString().replaceAll('~', '~0').replaceAll('/', '~1'));
	return {
		status, code,
		pointer: tokens.join(''),
		offset: at < 0 ? -1 : Buffer.byteLength(text.slice(0, at)),
		// Escapes take room, too, before pointers are cut to the nearest object.
		long: JSON.stringify(path).length + Buffer.byteLength(tokens.join('')) > 500,
	};
}

const malformed = code => ({ status: 400, code, malformed: true });

function examine(bytes, exact) {
	let text, parsed;
	if (/^[ \t\r\n]*$/.test(bytes.toString('latin1'))) return { refusal: malformed('empty-body') };
	try {
		text = utf8.decode(bytes);
	} catch {
		return { refusal: malformed(bytes.indexOf('\ufeff') === 0 ? 'malformed-json' : 'invalid-utf8') };
	}
	try {
		parsed = JSON.parse(text);
	} catch {
		return { refusal: malformed('') };
	}
	const reader = new Reader(text, exact);
	let seen;
	try {
		seen = reader.event();
	} catch (err) {
		if (!(err instanceof TooDeep)) throw err;
		return { refusal: { status: 400, code: 'too-deep', pointer: '', offset: Buffer.byteLength(text.slice(0, err.at)) } };
	}
	const lowest = Math.min(...reader.faults.map(fault => fault.status));
	const first = reader.faults.find(fault => fault.status === lowest);
	if (first) return { refusal: refusal(text, first) };
	return { body: body(parsed, seen, exact) };
}

function body(parsed, seen, exact) {
	const { id = 'wh_evt_new', type, timestamp = '2024-01-15T10:30:00.123Z', data, metadata = {} } = parsed;
	if (!exact) {
		const text = JSON.stringify({ id, type, timestamp, data, metadata });
		if (JSON.stringify(JSON.parse(text)) !== text) throw new Error('not stable');
		return text;
	}
	const head = JSON.stringify({ id, type, timestamp }).slice(0, -1);
	return head + ',"data":' + seen.data + ',"metadata":' + (seen.metadata ?? '{}') + '}';
}

let buffer = Buffer.alloc(1 << 16);

function fill(n) {
	if (buffer.length < n) buffer = Buffer.alloc(2 * n);
	for (let have = 0; have < n;) {
		const got = fs.readSync(0, buffer, have, n - have);
		if (got === 0) process.exit(0);
		have += got;
	}
}

function write(bytes) {
	for (let done = 0; done < bytes.length;) done += fs.writeSync(1, bytes, done);
}

for (;;) {
	fill(4);
	const n = buffer.readUInt32LE();
	fill(n);
	const { body, refusal } = examine(buffer.subarray(1, n), buffer[0] === 1);
	const answer = Buffer.from('....' + (refusal ? '-' + JSON.stringify(refusal) : '+' + body));
	answer.writeUInt32LE(answer.length - 4);
	write(answer);
}
