package examples_test

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeSnippets keeps the README's verification snippets and the tested
// receivers the same.
func TestReadmeSnippets(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for language, file := range map[string]string{
		"js":     "receivers/node/verify.js",
		"python": "receivers/python/verify.py",
		"go":     "receivers/go/verify.go",
		"php":    "receivers/php/verify.php",
		"json":   "quickstart/event.json",
	} {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// A Go snippet needs no package clause.
		want := "```" + language + "\n" + strings.TrimPrefix(string(code), "package main\n\n") + "```\n"
		if !strings.Contains(string(readme), want) {
			t.Errorf("the README does not hold %s as it is:\n%s", file, want)
		}
	}
}
