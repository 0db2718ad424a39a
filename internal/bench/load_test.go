package bench

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/clerk"
)

const connections = 64

var secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret for the benchmarks."))

// body returns a user.created of 2 KB for the i-th user.
func body(prefix string, i int) []byte {
	now := time.Now().UnixMilli()
	id := fmt.Sprintf("user_%s%09d", prefix, i)
	b := fmt.Appendf(nil, `{"data":{"banned":false,"created_at":%d,"email_addresses":[{"created_at":%d,"email_address":"%s@example.com","id":"idn_%d","linked_to":[],"object":"email_address","reserved":false,"updated_at":%d,"verification":{"attempts":1,"expire_at":%d,"status":"verified","strategy":"email_code"}}],"external_accounts":[],"external_id":null,"first_name":"First%d","has_image":true,"id":"%s","image_url":"https://img.example.com/%s","last_name":"Last%d","last_sign_in_at":null,"locked":false,"object":"user","password_enabled":true,"phone_numbers":[],"primary_email_address_id":"idn_%d","public_metadata":{"plan":"pro"},"private_metadata":{"notes":"%s"},"unsafe_metadata":{},"updated_at":%d,"username":null},"event_attributes":{"http_request":{"client_ip":"192.0.2.1","user_agent":"bench"}},"instance_id":"ins_bench","object":"event","timestamp":%d,"type":"user.created"}`,
		now, now, id, i, now, now, i, id, id, i, i, "", now, now+10)
	pad := bytes.Repeat([]byte("lorem ipsum "), 200)[:2048-len(b)]
	return bytes.Replace(b, []byte(`"notes":""`), []byte(`"notes":"`+string(pad)+`"`), 1)
}

// requests returns n signed deliveries as raw HTTP.
func requests(tb testing.TB, prefix string, n int) [][]byte {
	webhook, err := svix.NewWebhook(secret)
	if err != nil {
		tb.Fatal(err)
	}
	all := make([][]byte, n)
	now := time.Now()
	for i := range all {
		b := body(prefix, i)
		id := fmt.Sprintf("msg_%s%09d", prefix, i)
		signature, err := webhook.Sign(id, now, b)
		if err != nil {
			tb.Fatal(err)
		}
		all[i] = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nSvix-Id: %s\r\nSvix-Timestamp: %d\r\nSvix-Signature: %s\r\nContent-Length: %d\r\n\r\n%s",
			clerk.WebhookPath, id, now.Unix(), signature, len(b), b)
	}
	return all
}

// post sends the requests over keep-alive connections, one at a time on each, and returns
// when all have a 204. It costs little, so that the server is measured.
func post(tb testing.TB, addr string, requests [][]byte) time.Duration {
	var all sync.WaitGroup
	errs := make(chan error, connections)
	share := (len(requests) + connections - 1) / connections
	started := time.Now()
	for c := range connections {
		mine := requests[min(len(requests), c*share):min(len(requests), (c+1)*share)]
		all.Go(func() {
			if err := postAll(addr, mine); err != nil {
				errs <- err
			}
		})
	}
	all.Wait()
	took := time.Since(started)
	select {
	case err := <-errs:
		tb.Fatal(err)
	default:
	}
	return took
}

func postAll(addr string, requests [][]byte) error {
	conn, err := dial(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, request := range requests {
		if err := conn.post(request); err != nil {
			return err
		}
	}
	return nil
}

// connection is a keep-alive connection to a server.
type connection struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*connection, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &connection{conn, bufio.NewReader(conn)}, nil
}

// post sends a request and reads the answer, which must be a 204.
func (c *connection) post(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	status, err := c.r.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 204 ") {
		return fmt.Errorf("answered with %s", status)
	}
	for line := status; line != "\r\n"; {
		if line, err = c.r.ReadString('\n'); err != nil {
			return err
		}
	}
	return nil
}

// serve listens on a free port.
func serve(tb testing.TB, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	tb.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

// timeOf returns the processor time of one process.
func timeOf(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	var ticks int64
	for _, f := range strings.Fields(rest)[11:13] { // utime, stime
		n, _ := strconv.ParseInt(f, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// processorTime returns the processor time of this process and its children.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	return treeTime(tb, os.Getpid())
}

// treeTime returns the processor time of a process and its children, the ended ones too.
func treeTime(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		tb.Fatal(err)
	}
	type process struct {
		parent string
		ticks  int64
	}
	processes := map[string]process{}
	for _, file := range stats {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		fields := strings.Fields(rest) // from the third field of proc(5) on
		var ticks int64
		for _, f := range fields[11:15] { // utime, stime and those of ended children
			n, _ := strconv.ParseInt(f, 10, 64)
			ticks += n
		}
		processes[filepath.Base(filepath.Dir(file))] = process{fields[1], ticks}
	}
	root := strconv.Itoa(pid)
	total, members := processes[root].ticks, map[string]bool{root: true}
	for range 3 { // postmaster, backends
		for pid, p := range processes {
			if members[p.parent] && !members[pid] {
				members[pid] = true
				total += p.ticks
			}
		}
	}
	return time.Duration(total) * 10 * time.Millisecond
}
