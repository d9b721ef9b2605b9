package console_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/console"
)

// maxPageBytes keeps the page what it is: one file that a person can read.
const maxPageBytes = 64 << 10

func script(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllSubmatch(console.Page, -1)
	if len(m) != 1 {
		t.Fatalf("the page has %d scripts, want 1", len(m))
	}
	return string(m[0][1])
}

func TestPageStandsAlone(t *testing.T) {
	page := string(console.Page)
	if len(page) > maxPageBytes {
		t.Errorf("the page has %d bytes, want at most %d", len(page), maxPageBytes)
	}
	page = strings.ReplaceAll(page, "http://www.w3.org/2000/svg", "") // a name, not an address
	for _, forbidden := range []string{`https?:`, `[ "'(]//[a-z]`, `<link`, `<iframe`, `<img`, `\ssrc=`, `url\(`, `@import`, `\bimport\s*\(`} {
		if at := regexp.MustCompile(forbidden).FindString(page); at != "" {
			t.Errorf("the page holds %q, which may load something from elsewhere", at)
		}
	}
}

// TestPageEscapes holds the script to the one way of showing data: as text.
func TestPageEscapes(t *testing.T) {
	js := script(t)
	for _, forbidden := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc", "DOMParser"} {
		if strings.Contains(js, forbidden) {
			t.Errorf("the script uses %s, which takes data for markup or code", forbidden)
		}
	}
	// Inside a page a handler in an attribute would be one more place to check.
	if at := regexp.MustCompile(`<[^>]*\son[a-z]+=`).FindString(strings.Replace(string(console.Page), js, "", 1)); at != "" {
		t.Errorf("the markup has a handler in an attribute: %s", at)
	}
}

func TestPageIsWhole(t *testing.T) {
	page := string(console.Page)
	markup := strings.Replace(page, script(t), "", 1)
	if !strings.HasPrefix(page, "<!doctype html>") || !strings.HasSuffix(strings.TrimSpace(page), "</html>") {
		t.Error("the page does not begin with a doctype and end with </html>")
	}
	for _, tag := range []string{"html", "head", "body", "main", "section", "aside", "header", "form", "div", "ul", "ol", "dl", "select", "button", "label", "style", "span", "p"} {
		opened := len(regexp.MustCompile(`<`+tag+`[\s>]`).FindAllString(markup, -1))
		if closed := strings.Count(markup, "</"+tag+">"); opened != closed {
			t.Errorf("<%s> is opened %d times and closed %d times", tag, opened, closed)
		}
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(`\sid="([^"]+)"`).FindAllStringSubmatch(markup, -1) {
		if ids[m[1]] {
			t.Errorf("id %q stands twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`\$\("([^"]+)"\)|(?:for|aria-controls|aria-describedby)="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if id := m[1] + m[2]; !ids[id] {
			t.Errorf("id %q is used and not there", id)
		}
	}
	for _, m := range regexp.MustCompile(`<(?:input|select|textarea)[^>]*\sid="([^"]+)"`).FindAllStringSubmatch(markup, -1) {
		if !strings.Contains(markup, `for="`+m[1]+`"`) {
			t.Errorf("field %q has no label", m[1])
		}
	}
}

func TestScriptParses(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed; it checks the script's syntax")
	}
	file := filepath.Join(t.TempDir(), "page.js")
	if err := os.WriteFile(file, []byte(script(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(node, "--check", file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, bytes.TrimSpace(out))
	}
}
