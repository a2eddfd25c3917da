package event

import "strings"

// lossyJSON is what RFC 8259 has, but JavaScript does not keep.
var lossyJSON = []namedText{
	{"exponent too great", `[0.4e00669999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999]`},
	{"exponent too small", `[123.456e-789]`},
	{"overflow", `[1.5e+9999]`},
	{"overflow below zero", `[-1e+9999]`},
	{"double overflow", `[123123e100000]`},
	{"very negative", `[-123123123123123123123123123123]`},
	{"integer of many digits", `[123123123123123123123123]`},
	{"underflow", `[123e-10000000]`},
	{"two to the 53rd and one", `[9007199254740993]`},
	{"two to the 64th less one", `[18446744073709551615]`},
	{"two to the 63rd", `[9223372036854775808]`},
	{"digits of pi", `[3.14159265358979323846]`},
	{"half of the least", `[2.4703282292062327e-324]`},
	{"above the greatest", `[1.7976931348623159e308]`},
	{"a third with more", `[0.33333333333333333]`},
	{"same name", `{"a":"b","a":"c"}`},
	{"same name and value", `{"a":"b","a":"b"}`},
	{"same name by an escape", `{"a":1,"\u0061":2}`},
	{"same empty name", `{"":1,"":2}`},
	{"same lone surrogate", `{"\ud800":1,"\uD800":2}`},
	{"same pair", "{\"\\ud83d\\ude00\":1,\"\U0001f600\":2}"},
	{"same prototype", `{"__proto__":1,"__proto__":1}`},
}

// unusualJSON is what RFC 8259 has and warns of, and what is easily mistaken
// for lossyJSON.
var unusualJSON = []namedText{
	{"integer overflow", `[100000000000000000000]`},
	{"zero with a great exponent", `[0e99999999999]`},
	{"fraction of many zeros", `[1.0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000]`},
	{"least normal", `[2.2250738585072014e-308]`},
	{"greatest subnormal", `[2.225073858507201e-308]`},
	{"a third", `[0.3333333333333333]`},
	{"names in two cases", `{"a":1,"A":2}`},
	{"names in two forms", "{\"\u00e9\":1,\"e\u0301\":2}"},
	{"different lone surrogates", `{"\ud800":1,"\ud801":2}`},
	{"prototype", `{"__proto__":null}`},
	{"high surrogate alone", `["\uD800"]`},
	{"low surrogate alone", `["\uDC00"]`},
	{"high surrogates twice", `["\uD800\uD800"]`},
	{"surrogates inverted", `["\uDd1e\uD834"]`},
	{"high surrogate and newline", `["\uD800\n"]`},
	{"high surrogate and letter", `["\uDADAa"]`},
	{"high surrogate as name", `{"\uDFAA":0}`},
	{"surrogate and escaped letter", `["\ud83d\u0041"]`},
	{"64 levels", strings.Repeat(`[`, 62) + strings.Repeat(`]`, 62)},
}

// deepJSON has more than 64 levels as a value of data.
var deepJSON = []namedText{
	{"65 levels", strings.Repeat(`[`, 63) + strings.Repeat(`]`, 63)},
	{"500 levels", strings.Repeat(`[`, 500) + strings.Repeat(`]`, 500)},
	{"100000 levels open", strings.Repeat(`[`, 1000)},
	{"levels of objects", strings.Repeat(`{"a":`, 63) + `1` + strings.Repeat(`}`, 63)},
	{"levels open of objects", strings.Repeat(`[{"":`, 500)},
}
