package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/signing"
)

type dashboardCmd struct {
	NoOpen       bool   `name:"no-open" help:"Print the link, and open no browser."`
	DataDir      string `name:"data-dir" env:"CLERKSYNC_DATA_DIR" default:"${data_dir}" type:"path" help:"Data folder of the clerksync running here."`
	config.Admin `embed:""`
}

func (c *dashboardCmd) Help() string {
	return `The link logs in once, within five minutes. The clerksync running here is found by its
data folder, with its token. One with NATS_URL has none: then CLERKSYNC_ADMIN_ADDR and
CLERKSYNC_ADMIN_TOKEN, as set for clerksync serve, lead to it.

The link is opened on a terminal with a desktop, but neither for root nor over ssh. There,
forward the port (ssh -L 8081:127.0.0.1:8081 HOST) and open the link on your own machine.`
}

func (c *dashboardCmd) Run(s *session) error {
	url, token, err := c.find()
	if err != nil {
		return err
	}
	if token == "" { // that of dev is open
		url += "/"
	} else {
		code, err := loginCode(s.ctx, url, token)
		if err != nil {
			return err
		}
		url += "/login/link#" + code
	}
	fmt.Fprintln(s.stdout, url)
	if c.NoOpen || !isTerminal(s.stdout) {
		return nil
	}
	if token != "" {
		fmt.Fprintln(s.stdout, "It logs in once, within five minutes.")
	}
	if opener := desktopOpener(); opener != "" {
		if err := openBrowser(opener, url); err != nil {
			s.logger.Warn("the link was not opened", "err", err)
		}
	}
	return nil
}

// find returns the URL of the admin listener, and its token, "" when it needs none.
func (c *dashboardCmd) find() (url string, token config.Secret, err error) {
	running, err := app.FindRunning(c.DataDir)
	switch {
	case err == nil:
		return running.AdminURL, config.Secret(running.AdminToken), nil
	case !errors.Is(err, app.ErrNotRunning):
		return "", "", err
	case c.Token == "":
		err = fmt.Errorf("no dashboard: CLERKSYNC_ADMIN_TOKEN is not set, and clerksync is %w", err)
		return "", "", withHint(err, "start clerksync, name its folder by --data-dir, or set CLERKSYNC_ADMIN_ADDR and CLERKSYNC_ADMIN_TOKEN as for clerksync serve")
	}
	return "http://" + app.Reachable(c.Addr), c.Token, nil
}

const (
	linkTimeout = 5 * time.Second
	maxLink     = 4 << 10 // bytes of the answer
)

// loginCode asks an admin listener for a code that logs in once.
func loginCode(ctx context.Context, url string, token config.Secret) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/login/link", nil)
	if err != nil {
		return "", fmt.Errorf("ask for a link: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	client := &http.Client{CheckRedirect: signing.NoRedirects, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", withHint(fmt.Errorf("ask for a link: %w", err), "start clerksync, or correct CLERKSYNC_ADMIN_ADDR")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLink))
	if err != nil {
		return "", fmt.Errorf("ask for a link: %w", err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		return "", withHint(fmt.Errorf("ask for a link: %s refuses the token", url), "set CLERKSYNC_ADMIN_TOKEN to that of clerksync serve")
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask for a link: %s answers %s: %s", url, resp.Status, oneLine(string(body)))
	}
	var answer struct{ Code string }
	if err := json.Unmarshal(body, &answer); err != nil || answer.Code == "" {
		return "", withHint(fmt.Errorf("ask for a link: %s is no admin listener of clerksync", url), "correct CLERKSYNC_ADMIN_ADDR")
	}
	return answer.Code, nil
}

// desktopOpener returns the program that opens a browser before the person at the
// terminal, "" when there is no desktop, or it belongs to somebody else: root's terminal
// and one over ssh.
func desktopOpener() string {
	if os.Geteuid() == 0 || os.Getenv("SSH_CONNECTION") != "" {
		return ""
	}
	switch {
	case runtime.GOOS == "darwin":
		return "open"
	case os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "":
		return "xdg-open"
	}
	return ""
}

// openBrowser opens a link by way of a page in the cache folder of the user: every user of
// the machine can read the arguments of a program, and could use the code first.
func openBrowser(opener, url string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	page, err := leadTo(url, filepath.Join(cache, "clerksync"))
	if err != nil {
		return err
	}
	return exec.Command(opener, page).Start() // some return when the browser is closed
}

// leadTo writes a page that leads to a link, readable by its owner only.
func leadTo(url, dir string) (page string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	page = filepath.Join(dir, "dashboard.html")
	if err := os.Remove(page); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	f, err := os.OpenFile(page, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // new: an old one keeps its permissions
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintf(f, `<!doctype html><meta charset="utf-8"><title>clerksync</title><meta http-equiv="refresh" content="0; url=%s">`+"\n", html.EscapeString(url))
	return page, errors.Join(err, f.Close())
}
