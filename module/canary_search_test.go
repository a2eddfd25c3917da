package module

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// canaryWindow is how many bytes of a canary in a row are a leak.
const canaryWindow = 12

// canaries are values that nobody may get to see, by what they are.
type canaries map[string]string

// canaryForm is one form of a canary; it is there if one of its texts is.
type canaryForm struct {
	name, form string
	texts      [][]byte
}

// forms returns all forms of all canaries.
func (c canaries) forms() []canaryForm {
	var forms []canaryForm
	for _, name := range slices.Sorted(maps.Keys(c)) {
		of := formsOf(c[name])
		for _, form := range slices.Sorted(maps.Keys(of)) {
			f := canaryForm{name: name, form: form}
			for _, text := range of[form] {
				f.texts = append(f.texts, []byte(text))
			}
			forms = append(forms, f)
		}
	}
	return forms
}

// findCanaries returns what a text holds of canaries, each in one form.
func findCanaries(text []byte, forms []canaryForm) []string {
	var found []string
	last := ""
	for _, f := range forms {
		if f.name != last && slices.ContainsFunc(f.texts, func(t []byte) bool { return bytes.Contains(text, t) }) {
			found = append(found, f.name+" as "+f.form)
			last = f.name
		}
	}
	return found
}

// formsOf returns the texts of a value's forms.
func formsOf(value string) map[string][]string {
	forms := map[string][]string{
		"JSON":    {jsonText(value)},
		"query":   {url.QueryEscape(value)},
		"path":    {url.PathEscape(value)},
		"HTML":    {html.EscapeString(value)},
		"hex":     {hex.EncodeToString([]byte(value)), strings.ToUpper(hex.EncodeToString([]byte(value)))},
		"bytes":   {decimals(value, " ")},
		"Go":      {strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(value)), "[]byte{"), "}")},
		"numbers": {decimals(value, ",")},
	}
	for i := 0; i+canaryWindow <= len(value); i++ {
		forms["As it is"] = append(forms["As it is"], value[i:i+canaryWindow])
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for before := range 3 { // where it stands in what was encoded
			text := encoding.EncodeToString(append(make([]byte, before), value...))
			skip := []int{0, 2, 3}[before]
			forms["base64"] = append(forms["base64"], text[skip:len(text)-4])
		}
	}
	return forms
}

// decimals are the bytes of a text as numbers, as fmt prints a slice of them.
func decimals(s, separator string) string {
	var numbers []string
	for _, c := range []byte(s) {
		numbers = append(numbers, strconv.Itoa(int(c)))
	}
	return strings.Join(numbers, separator)
}

func jsonText(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text[1 : len(text)-1])
}

// A search that finds nothing would hold that nothing leaks.
func TestCanariesAreFound(t *testing.T) {
	t.Parallel()
	const value = "Kx7/q+Zm2=Wd9 R4&tB6<nV8"
	forms := canaries{"it": value}.forms()
	for name, text := range map[string]string{
		"as it is":         value,
		"a part of it":     value[5 : 5+canaryWindow],
		"JSON":             jsonText("before " + value + " after"),
		"query":            "?key=" + url.QueryEscape(value),
		"path":             "/" + url.PathEscape(value) + "/x",
		"HTML":             html.EscapeString(value),
		"hex":              fmt.Sprintf("%x", "before "+value),
		"upper-case hex":   fmt.Sprintf("%X", value),
		"bytes":            "[" + decimals("a"+value+"b", " ") + "]",
		"Go":               fmt.Sprintf("%#v", []byte("a"+value+"b")),
		"array of numbers": "[" + decimals("a"+value+"b", ",") + "]",
		"base64":           base64.StdEncoding.EncodeToString([]byte(value)),
		"credentials":      base64.StdEncoding.EncodeToString([]byte("user:" + value)),
		"within base64":    base64.URLEncoding.EncodeToString([]byte(`{"key":"` + value + `"}`)),
	} {
		if got := findCanaries([]byte("before\n"+text+"\nafter"), forms); len(got) == 0 {
			t.Errorf("%s: found nothing in %s", name, text)
		}
	}
	for name, text := range map[string]string{
		"other":        "nothing of it",
		"a short part": value[:canaryWindow-1],
		"another hex":  hex.EncodeToString([]byte("nothing of it, but long enough")),
	} {
		if got := findCanaries([]byte(text), forms); len(got) != 0 {
			t.Errorf("%s: found %q in %s", name, got, text)
		}
	}
}
