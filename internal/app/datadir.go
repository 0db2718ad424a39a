package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// DataDir is the folder in which clerksync stores its own files. One process at a time
// uses it, and announces there how commands reach it.
type DataDir struct {
	path string
	lock *os.File
}

// Running describes the process that uses a data folder. It holds secrets; the file is
// readable by its owner only.
type Running struct {
	PID           int       `json:"pid"`
	Command       string    `json:"command"` // dev or serve
	StartedAt     time.Time `json:"started_at"`
	Endpoint      string    `json:"endpoint,omitempty"`
	SigningSecret string    `json:"signing_secret,omitempty"`
	AdminURL      string    `json:"admin_url,omitempty"`
	AdminToken    string    `json:"admin_token,omitempty"` // configured, or made at the start; "" where the dashboard is open
	DatabaseURL   string    `json:"database_url,omitempty"`
	Schema        string    `json:"schema,omitempty"`
	NATSURL       string    `json:"nats_url,omitempty"`
	InstanceID    string    `json:"instance_id,omitempty"` // Clerk instance whose events are accepted, "" for all

	// The made-up Clerk of dev --sample-data. A real secret key is not written here.
	ClerkAPIURL    string `json:"clerk_api_url,omitempty"`
	ClerkSecretKey string `json:"clerk_secret_key,omitempty"`
}

const (
	lockFile    = "lock"
	runningFile = "running.json"
	secretFile  = "signing-secret"
	tokenFile   = "nats-token"
)

// ErrNotOurs means that other users may write into the data folder.
var ErrNotOurs = errors.New("data folder is not safe")

// ErrInUse means that another process uses the data folder.
var ErrInUse = errors.New("data folder in use")

// OpenDataDir creates the folder if it is missing and locks it for this process. It
// refuses an existing one in which other users could replace the files.
func OpenDataDir(path string) (*DataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	// Other users may traverse it: PostgreSQL runs as another user when this process is
	// root. Every file of ours is private by itself.
	switch err := os.Mkdir(path, 0o711); {
	case err == nil:
		if err := os.Chmod(path, 0o711); err != nil {
			return nil, fmt.Errorf("make data folder: %w", err)
		}
	case errors.Is(err, fs.ErrExist):
		if err := checkOurs(path, os.Geteuid()); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("make data folder: %w; CLERKSYNC_DATA_DIR names another", err)
	}
	lock, err := lockFolder(filepath.Join(path, lockFile))
	if err != nil {
		if errors.Is(err, ErrInUse) {
			if r, e := ReadRunning(path); e == nil {
				return nil, fmt.Errorf("%w: clerksync %s is running on %s as process %d, at %s; stop it, or name another CLERKSYNC_DATA_DIR",
					ErrInUse, r.Command, path, r.PID, r.Endpoint)
			}
			return nil, fmt.Errorf("%w: another clerksync is starting or stopping on %s; name another CLERKSYNC_DATA_DIR to run both", ErrInUse, path)
		}
		return nil, fmt.Errorf("lock data folder %s: %w; CLERKSYNC_DATA_DIR names another", path, err)
	}
	d := &DataDir{path: path, lock: lock}
	// The announcement of a killed process is stale.
	if err := os.Remove(d.file(runningFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.Close()
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	return d, nil
}

func (d *DataDir) file(name string) string { return filepath.Join(d.path, name) }

// Announce writes how commands reach this process.
func (d *DataDir) Announce(r Running) error {
	r.PID, r.StartedAt = os.Getpid(), time.Now().UTC()
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	if err := writePrivate(d.file(runningFile), append(data, '\n')); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return nil
}

// Keep returns the content of a file in the folder; the first call writes the result of
// make into it.
func (d *DataDir) Keep(name string, make func() (string, error)) (string, error) {
	data, err := os.ReadFile(d.file(name))
	if err == nil {
		return string(data), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read data folder: %w", err)
	}
	value, err := make()
	if err != nil {
		return "", err
	}
	return value, d.Write(name, []byte(value))
}

// Write replaces the content of a file in the folder, which [DataDir.Keep] returns then.
func (d *DataDir) Write(name string, data []byte) error {
	if err := writePrivate(d.file(name), data); err != nil {
		return fmt.Errorf("write data folder: %w", err)
	}
	return nil
}

// Close removes the announcement and unlocks the folder.
func (d *DataDir) Close() error {
	err := os.Remove(d.file(runningFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, d.lock.Close())
}

// writePrivate writes a file atomically, readable by its owner only.
func writePrivate(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// ErrNotRunning means that no process uses the data folder.
var ErrNotRunning = errors.New("not running")

// FindRunning returns the announcement of the process that uses a data folder. The error
// is [ErrNotRunning] when there is none.
func FindRunning(path string) (*Running, error) {
	r, err := ReadRunning(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no clerksync uses the data folder %s", ErrNotRunning, path)
	}
	if err != nil {
		return nil, err
	}
	// A killed process leaves its file behind, but not its lock.
	lock, err := lockFolder(filepath.Join(path, lockFile))
	if err == nil {
		lock.Close()
		return nil, fmt.Errorf("%w: clerksync %s on %s (process %d) is gone", ErrNotRunning, r.Command, path, r.PID)
	}
	if !errors.Is(err, ErrInUse) {
		return nil, fmt.Errorf("check data folder %s: %w", path, err)
	}
	return r, nil
}

// ReadRunning returns the latest announcement in a data folder, stale or not.
func ReadRunning(path string) (*Running, error) {
	data, err := os.ReadFile(filepath.Join(path, runningFile))
	if err != nil {
		return nil, err
	}
	r := &Running{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(path, runningFile), err)
	}
	return r, nil
}
