package module

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestTransportRebindingInNamespace is TestTransportRebinding with real public
// and metadata addresses, which a network namespace of its own has. Where the
// system refuses to make one, the test is skipped.
func TestTransportRebindingInNamespace(t *testing.T) {
	const variable = "CADDY_WEBHOOKS_TEST_NAMESPACE"
	private := []string{"169.254.169.254", "127.0.0.1", "10.1.2.3", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "::1"}
	const public = "93.184.215.14"
	if os.Getenv(variable) == "" {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTransportRebindingInNamespace$", "-test.v")
		if testing.Short() {
			child.Args = append(child.Args, "-test.short")
		}
		child.Env = append(os.Environ(), variable+"=1")
		child.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := child.CombinedOutput()
		switch text := string(out); {
		case child.ProcessState == nil:
			t.Skipf("no network namespace here: %v", err)
		case strings.Contains(text, "--- SKIP: TestTransportRebindingInNamespace"):
			t.Skip(text)
		case err != nil || !strings.Contains(text, "--- PASS: TestTransportRebindingInNamespace"):
			t.Errorf("got %v, want a pass:\n%s", err, text)
		default:
			t.Log(text)
		}
		return
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", public + "/32", "dev", "lo"},
		{"addr", "add", "169.254.169.254/32", "dev", "lo"},
		{"addr", "add", "10.1.2.3/32", "dev", "lo"},
		{"addr", "add", "100.100.100.200/32", "dev", "lo"},
		{"addr", "add", "168.63.129.16/32", "dev", "lo"},
		{"addr", "add", "fd00:ec2::254/128", "dev", "lo", "nodad"},
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Skipf("no addresses for the namespace: ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	r := &rebinding{public: netip.MustParseAddr(public), rounds: 1000} // of ten names
	if testing.Short() {
		r.rounds = 50
	}
	for _, text := range private {
		r.private = append(r.private, netip.MustParseAddr(text))
	}
	r.check(t)
}
