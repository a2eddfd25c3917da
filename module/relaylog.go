package module

import (
	"slices"
	"sync/atomic"

	"go.uber.org/zap/zapcore"
)

// relayCore is the log of what outlives a configuration: each entry goes where
// the current configuration sends its log.
type relayCore struct {
	current *atomic.Pointer[zapcore.Core]
	fields  []zapcore.Field
}

func newRelayCore(core zapcore.Core) *relayCore {
	r := &relayCore{current: new(atomic.Pointer[zapcore.Core])}
	r.set(core)
	return r
}

// set sends all later entries to the core, also those of loggers made before.
func (r *relayCore) set(core zapcore.Core) { r.current.Store(&core) }

// Enabled implements zapcore.LevelEnabler.
func (r *relayCore) Enabled(level zapcore.Level) bool { return (*r.current.Load()).Enabled(level) }

// With implements zapcore.Core.
func (r *relayCore) With(fields []zapcore.Field) zapcore.Core {
	return &relayCore{current: r.current, fields: slices.Concat(r.fields, fields)}
}

// Check implements zapcore.Core. The cores that want the entry are asked to
// write it themselves, so that their filters and their sampling hold.
func (r *relayCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return r.target().Check(e, ce)
}

// Write implements zapcore.Core.
func (r *relayCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return r.target().Write(e, fields)
}

// Sync implements zapcore.Core.
func (r *relayCore) Sync() error { return (*r.current.Load()).Sync() }

func (r *relayCore) target() zapcore.Core {
	core := *r.current.Load()
	if len(r.fields) > 0 {
		core = core.With(r.fields)
	}
	return core
}

// Interface guards
var _ zapcore.Core = (*relayCore)(nil)
