package signature

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// minUnguessed is how many characters of a secret must be more than words,
// rows and repetitions.
const minUnguessed = 6

var errStandIn = errors.New("is a stand-in that anybody can guess")

// unresolvedForm is what a placeholder looks like that nobody replaced:
// Caddy's anywhere, those of shells, templates and manuals as the whole text,
// and Caddy's without its braces.
var unresolvedForm = regexp.MustCompile(`\{(\$|env\.|file\.|vars\.)[^{}]*\}|` +
	`^(\$?\{.*\}|\$\(.*\)|\$[A-Za-z_]\w*|%[A-Za-z_]\w*%|<.*>|(env|file)\..*)$`)

// unresolved says whether the text holds something like {env.NAME} or {$NAME}.
func unresolved(text string) bool { return unresolvedForm.MatchString(text) }

// standInWords are what people write where a secret should be.
var standInWords = strings.Fields(`a abc admin api at be bytes change changeme characters default demo dev
	development dummy enter example fake fixme foo bar foobar for hello here hmac hunter in insert is it key
	least letmein local localhost long me minimum must my no none not null of or pass passphrase password
	phrase placeholder please private prod production put qwerty random replace sample secret secrets secure
	shared signing some string strong super temp temporary test testing the this to todo token undefined use
	value very webhook webhooks whsec with word world you your`)

// keyRows are the rows in which keys and characters follow each other; those
// read backwards are added to them.
var keyRows = func() []string {
	rows := []string{
		"abcdefghijklmnopqrstuvwxyz", "01234567890123456789", "qwertyuiop", "qwertzuiop", "azertyuiop",
		"asdfghjkl", "zxcvbnm", "1q2w3e4r5t6y7u8i9o0p", "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
	}
	for _, row := range rows {
		back := []byte(row)
		slices.Reverse(back)
		rows = append(rows, string(back))
	}
	return rows
}()

// lookalikes are what is written for letters to make a word look random.
var lookalikes = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i")

// standIn says whether hardly anything of the text needs to be guessed: it is
// made of stand-in words, digits and separators, or little is left of it when
// words, rows, runs and repetitions are taken away.
func standIn(text string) bool {
	text = period(strings.ToLower(text))
	return wordsOnly(text) || guessable(text)
}

// period returns the block whose repetition the text is, which may be the
// whole text.
func period(text string) string {
	for n := 1; n <= len(text)/2; n++ {
		if text[n:] == text[:len(text)-n] {
			return text[:n]
		}
	}
	return text
}

// wordsOnly says whether more than half of the text is letters, and all of
// them are words.
func wordsOnly(text string) bool {
	var letters []byte
	for i := range len(text) {
		if c := text[i]; isLetter(c) || c >= utf8.RuneSelf {
			letters = append(letters, c)
		}
	}
	// Digits alone may be a secret; a word must have been found.
	return len(letters) > len(text)/2 && madeOf(string(letters), standInWords)
}

// madeOf says whether the text is words joined together.
func madeOf(text string, words []string) bool {
	reached := make([]bool, len(text)+1)
	reached[0] = true
	for i := range text {
		if !reached[i] {
			continue
		}
		for _, w := range words {
			if strings.HasPrefix(text[i:], w) {
				reached[i+len(w)] = true
			}
		}
	}
	return reached[len(text)]
}

// guessable says whether fewer than minUnguessed characters are no part of a
// word, a row or a run, nor of what separates these from what follows.
func guessable(text string) bool {
	plain, unguessed := lookalikes.Replace(text), 0
	for i := 0; i < len(text); {
		l := guessed(text[i:], plain[i:])
		if l == 0 {
			if unguessed++; unguessed == minUnguessed {
				return false
			}
			i++
			continue
		}
		for i += l; i < len(text) && isSeparator(text[i]); i++ {
		}
	}
	return true
}

// guessed returns the length of the longest word, row or run that the text
// starts with, or 0. Shorter ones than 4 come about by chance. In plain, what
// looks like a letter is one.
func guessed(text, plain string) int {
	const least = 4
	longest := 0
	for _, w := range standInWords {
		if len(w) >= least && (strings.HasPrefix(text, w) || strings.HasPrefix(plain, w)) {
			longest = max(longest, len(w))
		}
	}
	for _, row := range keyRows {
		n := least
		for n <= len(text) && strings.Contains(row, text[:n]) {
			n++
		}
		if n > least {
			longest = max(longest, n-1)
		}
	}
	if run := len(text) - len(strings.TrimLeft(text, text[:1])); run >= least {
		longest = max(longest, run)
	}
	return longest
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }

// isSeparator says whether a byte of a lower-case text is neither a letter nor
// a digit.
func isSeparator(c byte) bool {
	return !isLetter(c) && (c < '0' || c > '9') && c < utf8.RuneSelf
}
