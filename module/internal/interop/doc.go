// Package interop proves the contract against software that others wrote: the
// official libraries of the signature schemes, the CloudEvents SDK and real
// clients, browsers among them. It holds tests only. Those in Node need
// `npm ci` in this folder first; the module oracle below keeps Go libraries
// that only tests use out of the product's go.mod.
package interop
