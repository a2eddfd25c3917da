package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// unit says how a figure is printed.
type unit string

const (
	perSecond unit = "/s"
	micros    unit = "µs"
	millis    unit = "ms"
	kibibytes unit = "KiB"
	mebibytes unit = "MiB"
	count     unit = ""
	times     unit = "×" // a ratio within one round
)

// figure is one measured value.
type figure struct {
	name  string
	unit  unit
	value float64
}

// format prints a value with about three digits.
func (u unit) format(v float64) string {
	switch {
	case u == count || math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func mib(n int64) float64        { return float64(n) / (1 << 20) }
func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// percentile is the smallest value that at least p percent of the values do
// not exceed (the nearest rank), or 0 if there are none.
func percentile(values []time.Duration, p float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// median is the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
