package module

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	zapobserver "go.uber.org/zap/zaptest/observer"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

const fileSecret = "kJ6Zr0n2Q8vXw4Tt1Lb5pY3m"

// secretFile writes a file that its owner alone may read.
func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := strings.Repeat("kJ6Zr0n2", 20) + fileSecret
	for name, tc := range map[string]struct{ path, want, err string }{
		"as it is":            {secretFile(t, fileSecret), fileSecret, ""},
		"line break":          {secretFile(t, fileSecret+"\n"), fileSecret, ""},
		"CR and LF":           {secretFile(t, fileSecret+"\r\n"), fileSecret, ""},
		"4 KiB":               {secretFile(t, long+strings.Repeat(" ", 4096-2*len(long))+long), long + strings.Repeat(" ", 4096-2*len(long)) + long, ""},
		"two line breaks":     {secretFile(t, fileSecret+"\n\n"), "", "secret starts or ends with a space or a line break"},
		"CR alone":            {secretFile(t, fileSecret+"\r"), "", "secret starts or ends with a space or a line break"},
		"space at the end":    {secretFile(t, fileSecret+" \n"), "", "secret starts or ends with a space or a line break"},
		"space at the start":  {secretFile(t, " "+fileSecret), "", "secret starts or ends with a space or a line break"},
		"byte order mark":     {secretFile(t, "\ufeff"+fileSecret), "", "secret starts with a byte order mark"},
		"two lines":           {secretFile(t, fileSecret+"\n"+fileSecret+"\n"), "", "secret has a line break"},
		"NUL":                 {secretFile(t, fileSecret+"\x00"+fileSecret), "", "secret has a NUL byte"},
		"more than 4 KiB":     {secretFile(t, long+strings.Repeat(" ", 4097-2*len(long))+long), "", "the file has more than 4096 bytes"},
		"empty":               {secretFile(t, ""), "", "the file is empty"},
		"a line break only":   {secretFile(t, "\n"), "", "the file is empty"},
		"short":               {secretFile(t, fileSecret[:15]), "", "secret has 15 bytes"},
		"stand-in":            {secretFile(t, "changeme12345678\n"), "", "secret is a stand-in"},
		"another placeholder": {secretFile(t, "{env.WEBHOOK_SECRET}\n"), "", "secret holds a placeholder that was not resolved"},
		"missing":             {filepath.Join(dir, "none"), "", "the file does not exist"},
		"in no folder":        {filepath.Join(dir, "none", "none"), "", "the file does not exist"},
		"below a file":        {filepath.Join(secretFile(t, fileSecret), "none"), "", "the file cannot be read: not a directory"},
		"folder":              {dir, "", "the file is not a regular file"},
		"device":              {os.DevNull, "", "the file is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := readSecret(newResolver(), "{file."+tc.path+"}")
			if tc.err == "" {
				if err != nil || got != tc.want {
					t.Errorf("got %q and error %v, want %q", got, err, tc.want)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), "{file."+tc.path+"}: "+tc.err) {
				t.Fatalf("got error %v, want one that %s", err, tc.err)
			}
			if strings.Contains(err.Error(), fileSecret[:6]) {
				t.Errorf("got error %v, which shows the content", err)
			}
		})
	}
}

// A file of which a part of a value comes is held to the same rules.
func TestSecretFileWithinValue(t *testing.T) {
	t.Parallel()
	path := secretFile(t, fileSecret+"\n")
	r := newResolver()
	if got, err := resolve(r, "Bearer {file."+path+"}"); err != nil || got != "Bearer "+fileSecret {
		t.Errorf("got %q and error %v, want the content after Bearer", got, err)
	}
	if _, err := resolve(r, "Bearer {file."+path+"x}"); err == nil || err.Error() != "{file."+path+"x}: the file does not exist" {
		t.Errorf("got error %v, want one that the file does not exist", err)
	}
	if _, err := resolve(r, "Bearer {env.WEBHOOKS_TEST_UNSET}"); err == nil || strings.Contains(err.Error(), "file") {
		t.Errorf("got error %v, want none about the file before", err)
	}
}

func TestExposedSecretFilesWarn(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such permissions")
	}
	modes := map[os.FileMode]bool{0o600: false, 0o400: false, 0o700: false, 0o640: true, 0o604: true, 0o644: true, 0o620: true}
	var want, values []string
	for mode, exposed := range modes {
		path := secretFile(t, fileSecret+fmt.Sprintf("%o", mode))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if exposed {
			want = append(want, path)
		}
		values = append(values, "{file."+path+"}")
	}
	if os.Geteuid() == 0 { // a file of another user is ours by its group
		path := secretFile(t, fileSecret)
		if err := errors.Join(os.Chown(path, 12345, -1), os.Chmod(path, 0o440)); err != nil {
			t.Fatal(err)
		}
		values = append(values, "{file."+path+"}")
	}
	endpoints := object{}
	for i, v := range values {
		endpoints[fmt.Sprint("secret", i)] = object{"url": "https://example.com", "secret": []string{v}}
		endpoints[fmt.Sprint("header", i)] = object{"url": "https://example.com", "sign": []object{}, "header": object{"Authorization": []string{"Bearer " + v}}}
	}
	_, logs := mustBuild(t, string(encode(t, object{"endpoints": endpoints})))
	lines := logs.FilterLevelExact(zapcore.WarnLevel).FilterMessageSnippet("files with secrets are open to other users").All()
	if len(lines) != 1 {
		t.Fatalf("got %d warnings, want one", len(lines))
	}
	var got []string
	for _, path := range lines[0].ContextMap()["files"].([]any) {
		got = append(got, path.(string))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got warnings about %q, want them about %q", got, want)
	}

	core, logs := zapobserver.New(zapcore.DebugLevel)
	h := &Handler{Tokens: values, logger: zap.New(core)}
	if err := h.provisionTokens(); err != nil {
		t.Fatal(err)
	}
	if n := logs.FilterMessageSnippet("files with secrets are open to other users").Len(); n != 1 {
		t.Errorf("got %d warnings about tokens, want one", n)
	}
}

func TestLiteralSecrets(t *testing.T) {
	t.Setenv("GOOD", testSecret)
	path := secretFile(t, fileSecret)
	for name, tc := range map[string]struct {
		options object
		literal bool
	}{
		"secret":                   {object{"secret": []string{fileSecret}}, true},
		"previous secret":          {object{"secret": []string{"{env.GOOD}", fileSecret}}, true},
		"placeholders":             {object{"secret": []string{"{env.GOOD}", "{file." + path + "}"}}, false},
		"credential":               {object{"header": object{"Authorization": []string{"Bearer " + fileSecret}}}, true},
		"credential in lower case": {object{"header": object{"authorization": []string{"Bearer " + fileSecret}}}, true},
		"key":                      {object{"header": object{"X-Api-Key": []string{fileSecret}}}, true},
		"cookie":                   {object{"header": object{"Cookie": []string{"a=" + fileSecret}}}, true},
		"second value":             {object{"header": object{"X-Token": []string{"{env.GOOD}", fileSecret}}}, true},
		"credential by reference":  {object{"header": object{"Authorization": []string{"Bearer {env.GOOD}"}}}, false},
		"other header":             {object{"header": object{"X-Team": []string{"red"}, "X-Author": []string{"jane"}, "X-Monkey": []string{"yes"}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for place, config := range map[string]object{
				"endpoint": {"endpoints": object{"acme": merged(object{"url": "https://example.com"}, tc.options)}},
				"defaults": {"defaults": tc.options, "endpoints": object{"acme": object{"url": "https://example.com"}}},
			} {
				_, logs := mustBuild(t, string(encode(t, config)))
				lines := logs.FilterLevelExact(zapcore.WarnLevel).FilterMessage(WarnLiteral).All()
				if got := len(lines) == 1; got != tc.literal {
					t.Errorf("%s: got %d warnings, want one: %t", place, len(lines), tc.literal)
				}
			}
		})
	}
}

func merged(objects ...object) object {
	all := object{}
	for _, o := range objects {
		maps.Copy(all, o)
	}
	return all
}

// TestSecretIsRedactedInLogs holds that no encoder of Caddy's logs shows a
// secret, whichever field it is in.
func TestSecretIsRedactedInLogs(t *testing.T) {
	t.Parallel()
	s, err := signature.ParseSecret(fileSecret)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Secret  Secret
		Pointer *Secret
		Map     map[string]Secret
		hidden  Secret
	}
	h := holder{s, &s, map[string]Secret{"a": s}, s}
	var out bytes.Buffer
	for _, encoder := range []zapcore.Encoder{
		zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	} {
		logger := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zapcore.DebugLevel))
		logger.Info("fields", zap.Any("a", s), zap.Any("b", &s), zap.Any("c", h), zap.Any("d", []Secret{s}), zap.Stringer("e", s),
			zap.Reflect("f", s), zap.Reflect("g", &h), zap.Error(fmt.Errorf("failing with %v", s)))
		logger.Sugar().Infow("sugar", "a", s, "b", h)
		logger.Sugar().Infof("%v %+v %#v", s, h, []Secret{s})
	}
	log.New(&out, "", 0).Println(s, h, &h)
	if err := template.Must(template.New("").Parse("{{.}} {{.Secret}} {{.Map}}")).Execute(&out, h); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(&out).Encode(h); err != nil {
		t.Fatal(err)
	}
	if found := findCanaries(out.Bytes(), canaries{"secret": fileSecret}.forms()); len(found) > 0 {
		t.Errorf("got the %q in %s", found, out.String())
	}
	if n := strings.Count(out.String(), "[redacted]"); n < 20 {
		t.Errorf("got %d redactions, want each place to have one:\n%s", n, out.String())
	}
}
