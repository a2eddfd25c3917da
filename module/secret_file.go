package module

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxSecretFile bounds a file with a secret, in bytes.
const maxSecretFile = 4 << 10

// readSecretFile reads a file without its last line break, and says whether
// others may read or change it. The error, which goes on after "the file",
// holds nothing of the content.
func readSecretFile(path string) (text string, exposed bool, err error) {
	info, err := os.Stat(path) // opening a pipe would wait for somebody to write
	if err != nil {
		return "", false, fileError(err)
	}
	if !info.Mode().IsRegular() {
		return "", false, errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", false, fileError(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch {
	case err != nil:
		return "", false, fileError(err)
	case len(content) > maxSecretFile:
		return "", false, fmt.Errorf("has more than %d bytes", maxSecretFile)
	}
	text, ended := strings.CutSuffix(string(content), "\n")
	if ended {
		text = strings.TrimSuffix(text, "\r")
	}
	if text == "" {
		return "", false, errors.New("is empty")
	}
	return text, isExposed(info), nil
}

// fileError leaves out the path, which stands in front already.
func fileError(err error) error {
	switch path, ok := errors.AsType[*fs.PathError](err); {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist")
	case ok:
		return fmt.Errorf("cannot be read: %w", path.Err)
	default:
		return fmt.Errorf("cannot be read: %w", err)
	}
}
