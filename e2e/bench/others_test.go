//go:build linux

package bench

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// other is another proxy with a hard-coded header, if it is installed.
type other struct {
	kind    string
	version string // empty: it is not installed
	addr    string
	pid     int
}

// processes returns the ids of its processes.
func (o *other) processes() []int {
	pids := []int{o.pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", o.pid, o.pid))
	for _, child := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// startOthers starts the other proxies in front of the upstream.
func startOthers(b *testing.B, upstream string) []*other {
	b.Helper()
	server := strings.TrimPrefix(upstream, "http://")
	nginx, haproxy := &other{kind: kindNginx}, &other{kind: kindHAProxy}
	nginx.start(b, "nginx", func(dir string) []string {
		config := write(b, filepath.Join(dir, "nginx.conf"),
			fmt.Sprintf(nginxConfig, dir, runtime.NumCPU(), server, nginx.addr, token))
		return []string{"-c", config, "-e", "stderr"}
	})
	haproxy.start(b, "haproxy", func(dir string) []string {
		config := write(b, filepath.Join(dir, "haproxy.cfg"),
			fmt.Sprintf(haproxyConfig, runtime.NumCPU(), haproxy.addr, token, server))
		return []string{"-db", "-f", config}
	})
	return []*other{nginx, haproxy}
}

// start starts the program, with the arguments that configure returns, if it is installed.
func (o *other) start(b *testing.B, program string, configure func(dir string) []string) {
	b.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		return
	}
	version, err := exec.Command(path, "-v").CombinedOutput()
	if err != nil {
		b.Fatal(err)
	}
	o.version = o.kind + " " + versionNumber.FindString(string(version))
	o.addr = rig.FreeAddr(b)
	dir := b.TempDir()
	output := new(rig.Output)
	cmd := exec.Command(path, configure(dir)...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	o.pid = cmd.Process.Pid
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	if !rig.Poll(time.Minute, func() bool {
		conn, err := net.Dial("tcp", o.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}) {
		b.Fatalf("%s does not listen: %s", o.kind, output)
	}
}

func write(b *testing.B, file, text string) string {
	b.Helper()
	if err := os.WriteFile(file, bytes.TrimLeft([]byte(text), "\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	return file
}

const nginxConfig = `
daemon off;
pid %[1]s/nginx.pid;
error_log stderr error;
worker_processes %[2]d;
events { worker_connections 1024; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	proxy_max_temp_file_size 0;
	upstream api {
		server %[3]s;
		keepalive 64;
		keepalive_requests 1000000000;
	}
	server {
		listen %[4]s;
		location / {
			proxy_pass http://api;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Authorization "Bearer %[5]s";
		}
	}
}
`

const haproxyConfig = `
global
	nbthread %[1]d
defaults
	mode http
	timeout connect 5s
	timeout client 1m
	timeout server 1m
frontend clients
	bind %[2]s
	http-request set-header Authorization "Bearer %[3]s"
	default_backend api
backend api
	http-reuse always
	server api %[4]s
`
