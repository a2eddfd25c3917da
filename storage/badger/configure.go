package badger

import "time"

// bounds are the options that may change while the outbox is open.
type bounds struct {
	retention        time.Duration
	maxSize, minFree int64
	maxPending       int
}

// Configure changes Retention, MaxSize, MinFree and MaxPending of an open
// outbox; a zero option gets its default. All other options stay as they are.
// It takes effect at once, and may be called while other calls are under way.
func (o *Outbox) Configure(opt Options) error {
	opt, err := opt.withDefaults()
	if err != nil {
		return err
	}
	o.setBounds(opt)
	o.wakeHousekeeper()
	return nil
}

func (o *Outbox) setBounds(opt Options) {
	o.bounds.Store(&bounds{retention: opt.Retention, maxSize: opt.MaxSize, minFree: opt.MinFree, maxPending: opt.MaxPending})
}
