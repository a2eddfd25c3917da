package badger

import (
	"sync/atomic"
	"time"
)

// Packing a segment takes some tenths of a second of a processor. Taken at
// once, on two processors that are busy for most of the time, they make every
// event wait that comes in until the lost time is caught up: 100 to 170 ms,
// measured at 80 % of the peak, each time that a segment is full. So what packs
// rests after each stretch of work.
const (
	stretch = 250 * time.Microsecond

	// restShare is how many times as long as the stretch before it a rest is,
	// up to longRest: a long stretch has waited for the disk, or a processor.
	restShare = 8
	longRest  = 5 * time.Millisecond

	// paceSteps is how many steps are made between looks at the clock. Most
	// take less than a microsecond.
	paceSteps = 16
)

// pace makes a goroutine rest.
type pace struct {
	hurry *atomic.Bool // no rests while it is set
	steps int
	began time.Time
}

func newPace(hurry *atomic.Bool) pace { return pace{hurry: hurry, began: time.Now()} }

// step is called before each small step of the work, and rests when it is time
// to.
func (p *pace) step() {
	if p.steps++; p.steps%paceSteps != 0 {
		return
	}
	worked := time.Since(p.began)
	if worked < stretch {
		return
	}
	if !p.hurry.Load() {
		time.Sleep(min(restShare*worked, longRest))
	}
	p.began = time.Now()
}
