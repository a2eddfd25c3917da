package delivery

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

// nameServer returns Go's own resolver with a name server in memory. answer
// makes the answer from the question, and says whether there is one.
func nameServer(answer func(m *dnsmessage.Message) bool) egress.LookupFunc {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		client, server := net.Pipe() // no packets, so messages as over TCP: RFC 1035, section 4.2.2
		// The resolver waits for an answer even when nobody wants it any more.
		context.AfterFunc(ctx, func() { _ = client.Close() })
		go func() {
			defer server.Close()
			for serveName(server, answer) == nil {
			}
		}()
		return client, nil
	}}
	return func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		return r.LookupNetIP(ctx, network, host)
	}
}

func serveName(conn net.Conn, answer func(m *dnsmessage.Message) bool) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(buf); err != nil {
		return err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if !answer(&m) {
		_, err := io.Copy(io.Discard, conn)
		return err
	}
	out, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
	return err
}

// TestNameServers is about what name servers do to attempts.
func TestNameServers(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	rcode := func(code dnsmessage.RCode) func(*dnsmessage.Message) bool {
		return func(m *dnsmessage.Message) bool { m.RCode = code; return true }
	}
	alias := func(m *dnsmessage.Message, from, to string) {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(from), Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)},
		})
	}
	address := func(m *dnsmessage.Message, addr string) {
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(addr).As4()},
			})
		}
	}
	t.Run("rows", func(t *testing.T) {
		for name, test := range map[string]struct {
			answer func(*dnsmessage.Message) bool
			code   string
		}{
			"no such name":   {rcode(dnsmessage.RCodeNameError), CodeDNSNotFound},
			"no address":     {rcode(dnsmessage.RCodeSuccess), CodeDNSNotFound},
			"server failure": {rcode(dnsmessage.RCodeServerFailure), CodeDNSFailure},
			"refused":        {rcode(dnsmessage.RCodeRefused), CodeDNSFailure},
			"no answer":      {func(*dnsmessage.Message) bool { return false }, CodeDNSFailure},
			"answer to another question": {func(m *dnsmessage.Message) bool {
				m.Questions[0].Name = dnsmessage.MustNewName("other.example.")
				address(m, "8.8.8.8")
				return true
			}, CodeDNSFailure},
			"names that lead to each other": {func(m *dnsmessage.Message) bool {
				alias(m, "receiver.example.", "other.example.")
				alias(m, "other.example.", "receiver.example.")
				return true
			}, CodeDNSNotFound},
			"private": {func(m *dnsmessage.Message) bool { address(m, "10.0.0.1"); return true }, CodeBlocked},
			"metadata by another name": {func(m *dnsmessage.Message) bool {
				alias(m, "receiver.example.", "other.example.")
				address(m, "169.254.169.254")
				return true
			}, CodeBlocked},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				network := &dials{}
				transport := guarded(t, nil)
				transport.DialContext = (&egress.Guard{Dial: network.dial, Lookup: nameServer(test.answer), Timeout: 2 * rowTimeout}).DialContext
				m := testMessage(t, "https://receiver.example/", transport)
				m.Endpoint.Timeout = rowTimeout
				out := Send(t.Context(), m)
				checkUnconnected(t, &out, test.code)
				if len(network.to) > 0 {
					t.Errorf("got dials to %q, want none", network.to)
				}
			})
		}
	})
	leaked()
}
