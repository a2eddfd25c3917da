package event

import "time"

// maxTimestamp bounds a timestamp, in bytes: RFC 3339 sets no limit to the
// digits of a second's fraction.
const maxTimestamp = 64

// receiptFormat is how the time of receipt is written.
const receiptFormat = "2006-01-02T15:04:05.000Z"

// parseTimestamp reads a date-time of RFC 3339, section 5.6. As the section
// allows, "T" and "Z" may be in lower case; a space instead of "T" is refused,
// because the grammar has none. A leap second is accepted at the end of any
// minute, and is the first second of the next. The fraction is passed over.
//
// The time package is no help here: it refuses leap seconds and lower case.
func parseTimestamp(text []byte) (time.Time, bool) {
	if len(text) < len("2006-01-02T15:04:05Z") || len(text) > maxTimestamp {
		return time.Time{}, false
	}
	year, ok0 := twoDigits(text, 0, 99)
	century := year * 100
	year, ok1 := twoDigits(text, 2, 99)
	year += century
	month, ok2 := twoDigits(text, 5, 12)
	day, ok3 := twoDigits(text, 8, 31)
	hour, ok4 := twoDigits(text, 11, 23)
	minute, ok5 := twoDigits(text, 14, 59)
	second, ok6 := twoDigits(text, 17, 60)
	if !ok0 || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 ||
		text[4] != '-' || text[7] != '-' || text[10]|0x20 != 't' || text[13] != ':' || text[16] != ':' ||
		month < 1 || day < 1 || day > daysIn(year, month) {
		return time.Time{}, false
	}
	zone, ok := fraction(text[19:])
	if !ok {
		return time.Time{}, false
	}
	offset, ok := parseZone(zone)
	if !ok {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC).Add(-offset), true
}

// twoDigits reads the number that two digits at the position are.
func twoDigits(text []byte, at, most int) (int, bool) {
	hi, lo := text[at]-'0', text[at+1]-'0'
	n := int(hi)*10 + int(lo)
	return n, hi <= 9 && lo <= 9 && n <= most
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// fraction passes over the fraction of a second, if there is one.
func fraction(text []byte) (rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '.' {
		return text, true
	}
	i := 1
	for i < len(text) && text[i]-'0' <= 9 {
		i++
	}
	return text[i:], i > 1
}

// parseZone reads what ends a timestamp: Z, or an offset in hours and minutes.
func parseZone(text []byte) (time.Duration, bool) {
	if len(text) == 1 && text[0]|0x20 == 'z' {
		return 0, true
	}
	if len(text) != len("+00:00") || text[3] != ':' || text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	hours, ok1 := twoDigits(text, 1, 23)
	minutes, ok2 := twoDigits(text, 4, 59)
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if text[0] == '-' {
		offset = -offset
	}
	return offset, ok1 && ok2
}
