package event

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// TestManyKeys compares one object of many members with many objects of few:
// looking for names given twice must not make the square of their number of
// it. Going on from comparing all with all, the ratio is in the hundreds.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	const n, most = 50_000, 60
	var one, many strings.Builder
	for i := range n {
		key := `"` + strings.Repeat("k", 20) + strconv.Itoa(1_000_000+i*7919%n) + `":0,`
		one.WriteString(key)
		many.WriteString(key)
		if i%fewMembers == 0 {
			many.WriteString(`"x":1},{`)
		}
	}
	duration := func(in string) time.Duration {
		least := time.Hour
		for range 3 {
			start := time.Now()
			if _, prob := testParser().Event([]byte(in)); prob != nil {
				t.Fatal(prob)
			}
			least = min(least, time.Since(start))
		}
		return least
	}
	slow := duration(wrap(one.String() + `"x":1`))
	fast := duration(wrap(`"l":[{` + many.String() + `"x":1}]`))
	if ratio := slow / fast; ratio > most {
		t.Errorf("got %v for one object and %v for many, want a ratio of %d at most", slow, fast, most)
	}
}

// TestNameTwiceAmongMany finds the first that is given twice, wherever sorting
// puts it.
func TestNameTwiceAmongMany(t *testing.T) {
	t.Parallel()
	members := manyKeys(10_000)
	_, prob := testParser().Event([]byte(wrap(members + `,"key_9000":1,"key_1":1`)))
	if prob == nil {
		t.Fatal("got an event, want a refusal")
	}
	checkProblem(t, "many", prob, problem.NotJSStable, "/data/key_9000", int64(31+len(members)+1))
}

func TestArrayIndex(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int64{
		"0": 0, "7": 7, "10": 10, "4294967294": 4294967294,
		"": -1, "00": -1, "01": -1, "-1": -1, "1.0": -1, "1e3": -1, " 1": -1, "4294967295": -1, "9999999999": -1, "18446744073709551617": -1, "１": -1,
	} {
		if got := arrayIndex([]byte(key)); got != want {
			t.Errorf("%q: got %d, want %d", key, got, want)
		}
	}
}
