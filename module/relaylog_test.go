package module

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Loggers made from a relay follow the configuration, with their own fields.
func TestRelayLogFollowsConfiguration(t *testing.T) {
	t.Parallel()
	var first, second strings.Builder
	core := func(w *strings.Builder, level zapcore.Level) zapcore.Core {
		return zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}), zapcore.AddSync(w), level)
	}
	relay := newRelayCore(core(&first, zap.InfoLevel))
	logger := zap.New(relay).With(zap.String("of", "outbox"))
	logger.Info("one")
	logger.Debug("hidden")
	relay.set(core(&second, zap.DebugLevel))
	logger.Debug("two", zap.Int("n", 2))

	if got, want := first.String(), `{"msg":"one","of":"outbox"}`+"\n"; got != want {
		t.Errorf("got %q in the first log, want %q", got, want)
	}
	if got, want := second.String(), `{"msg":"two","of":"outbox","n":2}`+"\n"; got != want {
		t.Errorf("got %q in the second log, want %q", got, want)
	}
}
