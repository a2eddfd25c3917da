package badger

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// aLog imitates what Badger writes: transactions of three entries.
func aLog(transactions int) (b []byte, ends []int) {
	b = make([]byte, logHeader)
	for v := range uint64(transactions) {
		v++
		for i := range 3 {
			start := len(b)
			b = append(b, bitTxn, 0, 5+timestamp, 40, 0)
			b = append(b, 'k', 'e', 'y', byte(v), byte(i))
			b = binary.BigEndian.AppendUint64(b, math.MaxUint64-v)
			for j := range 40 {
				b = append(b, byte(j+1))
			}
			b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
		}
		b = append(b, lastEntry(v)...)
		ends = append(ends, len(b))
	}
	return b, ends
}

func TestExamineLog(t *testing.T) {
	t.Parallel()
	const n = 4
	whole, ends := aLog(n)
	last := ends[n-2] // where the last transaction begins
	flip := func(b []byte, at int) []byte { b[at] ^= 4; return b }
	for _, test := range []struct {
		name string
		log  []byte
		// want after a kill, and after the system went down
		kill, down string
		short      bool // nothing follows
	}{
		{name: "empty", log: nil, short: true},
		{name: "no header yet", log: make([]byte, logHeader)},
		{name: "whole", log: whole},
		{name: "shortened to the end", log: whole, short: true},
		{name: "commit without its end", log: whole[:ends[n-1]-len(lastEntry(n))]},
		{name: "part of an entry", log: whole[:last+30]},
		{name: "flip in the first commit", log: flip(slices.Clone(whole), 60), kill: "damaged", down: "damaged"},
		{name: "flip in the last commit but one", log: flip(slices.Clone(whole), ends[n-3]+60), kill: "damaged", down: "damaged"},
		{name: "flip in the last commit", log: flip(slices.Clone(whole), last+60), kill: "damaged"},
		{name: "flip at the end of the last commit", log: flip(slices.Clone(whole), ends[n-1]-10), kill: "where a commit ends", down: "where a commit ends"},
		{name: "flip in a length", log: flip(slices.Clone(whole), logHeader+3), kill: "damaged", down: "damaged"},
		{name: "flip in the header", log: flip(slices.Clone(whole), 3), kill: "names a key", down: "names a key"},
		{name: "cut in an entry", log: whole[:last+30], short: true, kill: "cut short"},
		{name: "cut before the end of a commit", log: whole[:ends[n-1]-len(lastEntry(n))], short: true, kill: "cut short"},
		{name: "cut in the header", log: []byte{0, 0, 0, 0, 0, 0, 0, 0, 7}, short: true, kill: "cut short", down: "cut short"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := slices.Clone(test.log)
			if !test.short {
				b = append(b, make([]byte, 1<<16)...)
			}
			path := filepath.Join(t.TempDir(), "00001.mem")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			for boot, want := range map[bool]string{true: test.kill, false: test.down} {
				err := examineLog(path, boot)
				if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
					t.Errorf("same boot %t: got %v, want %q", boot, err, want)
				}
			}
		})
	}
}
