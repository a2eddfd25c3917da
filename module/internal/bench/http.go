package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// errMessage is a message that this small reader of HTTP/1.1 cannot read.
var errMessage = errors.New("not a message with a Content-Length")

// message is the head of a request or an answer.
type message struct {
	status   int // of an answer
	endpoint int // of a request to /N
	length   int
}

// readHead reads a start line and the headers. It knows just what the two
// sides here say, because the generator shares its cores with the process
// under test.
func readHead(r *bufio.Reader) (m message, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return m, err
	}
	switch {
	case len(line) >= 12 && bytes.HasPrefix(line, []byte("HTTP/1.1 ")):
		m.status = digits(line[9:12])
	case bytes.HasPrefix(line, []byte("POST /")):
		path, _, _ := bytes.Cut(line[len("POST /"):], []byte(" "))
		m.endpoint = digits(path)
	default:
		return m, fmt.Errorf("%w: %q", errMessage, line)
	}
	m.length = -1
	for {
		line, err = r.ReadSlice('\n')
		if err != nil {
			return m, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		const name = "content-length:"
		if len(line) > len(name) && line[0]|0x20 == 'c' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			m.length = digits(bytes.TrimSpace(line[len(name):]))
		}
	}
	if m.length < 0 || m.status < 0 || m.endpoint < 0 {
		return m, errMessage
	}
	return m, nil
}

// readBody reads a body into buf, which grows as needed.
func readBody(r *bufio.Reader, m message, buf []byte) ([]byte, error) {
	if cap(buf) < m.length {
		buf = make([]byte, m.length)
	}
	buf = buf[:m.length]
	_, err := io.ReadFull(r, buf)
	return buf, err
}
