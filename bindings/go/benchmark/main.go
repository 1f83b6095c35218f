// Prints what an event of 100 bytes costs a Go program, in µs of CPU: by this package, and by a loop of net/http and
// encoding/json that does the same long polling. Both are children of this process, and run by turns:
//
//	benchmark [DEMO_SERVER [FLOOD_SERVER]]
//
// The demo server publishes, and the program sleeps in between, so that waking it is most of the cost. With the server of
// `make bench` (target/release/cometd_flood_server), which answers each connect at once, it never sleeps.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cometd"
)

const (
	rounds = 5
	pad    = 83 // {"n":1234,"pad":"…"} has 100 bytes
)

func main() {
	log.SetFlags(0)
	if len(os.Args) == 5 {
		events, err := strconv.Atoi(os.Args[4])
		check(err)
		map[string]func(string, string, int){"package": byPackage, "loop": byLoop}[os.Args[1]](os.Args[2], os.Args[3], events)
		return
	}
	program := "../../build/bin/cometd_demo_server"
	if len(os.Args) > 1 {
		program = os.Args[1]
	}
	ready := start(program, "--port", "0", "--quiet", "--exit-with-stdin", "--tick-ms", "0")
	compare("published one after the other", func(way string, batch int) float64 {
		return measure(way, "http://127.0.0.1:"+ready[1]+"/cometd", "/benchmark", 1000*batch, func() {
			for range 1000 {
				get("http://127.0.0.1:%s/publish?channel=/benchmark&count=%d&size=%d", ready[2], batch, pad)
				time.Sleep(time.Millisecond) // until the next connect is held
			}
		})
	})
	if len(os.Args) < 3 {
		return
	}
	ready = start(os.Args[2])
	compare("as fast as they are read", func(way string, batch int) float64 {
		url := fmt.Sprintf("http://127.0.0.1:%s/flood/%d/100/", ready[1], batch)
		return measure(way, url, "/flood/events", 5000*batch, func() {})
	})
}

var inputs []io.Closer // kept open

// start starts a server that ends with this process, and gives the words that it says.
func start(program string, arguments ...string) []string {
	server := exec.Command(program, arguments...)
	input, err := server.StdinPipe()
	check(err)
	inputs = append(inputs, input)
	output, err := server.StdoutPipe()
	check(err)
	check(server.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	check(err)
	return strings.Fields(line)
}

func compare(load string, measure func(way string, batch int) float64) {
	fmt.Printf("%s: CPU µs an event, median of %d rounds\n", load, rounds)
	fmt.Println("events a response   package   net/http loop   ratio")
	for _, batch := range []int{1, 10, 100} {
		costs := map[string][]float64{}
		for range rounds {
			for _, way := range []string{"package", "loop"} {
				costs[way] = append(costs[way], measure(way, batch))
			}
		}
		ours, theirs := median(costs["package"]), median(costs["loop"])
		fmt.Printf("%17d %9.2f %15.2f %7.2f\n", batch, ours, theirs, ours/theirs)
	}
}

// measure starts a receiver, feeds it, and reads from it what it has used.
func measure(way, url, channel string, events int, feed func()) float64 {
	receiver := exec.Command(os.Args[0], way, url, channel, fmt.Sprint(events))
	receiver.Stderr = os.Stderr
	output, err := receiver.StdoutPipe()
	check(err)
	check(receiver.Start())
	lines := bufio.NewReader(output)
	_, err = lines.ReadString('\n') // it has subscribed
	check(err)
	feed()
	var used float64
	_, err = fmt.Fscan(lines, &used)
	check(err)
	check(receiver.Wait())
	return used / float64(events)
}

func get(format string, arguments ...any) {
	answer, err := http.Get(fmt.Sprintf(format, arguments...))
	check(err)
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
}

func cpu() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1000
}

func byPackage(url, channel string, events int) {
	ctx := context.Background()
	client, err := cometd.New(url)
	check(err)
	check(client.Connect(ctx))
	check(client.Subscribe(ctx, channel))
	fmt.Println("ready")
	before := cpu()
	for event := range client.Events(ctx) {
		if event.Type != cometd.EventMessage {
			continue
		}
		if events--; events == 0 {
			break
		}
	}
	fmt.Println(cpu() - before)
	client.Close()
}

type request struct {
	Channel      string   `json:"channel"`
	ID           string   `json:"id"`
	ClientID     string   `json:"clientId,omitempty"`
	Type         string   `json:"connectionType,omitempty"`
	Subscription string   `json:"subscription,omitempty"`
	Version      string   `json:"version,omitempty"`
	Types        []string `json:"supportedConnectionTypes,omitempty"`
}

type message struct {
	Channel    string          `json:"channel"`
	ClientID   string          `json:"clientId"`
	Successful bool            `json:"successful"`
	Data       json.RawMessage `json:"data"`
}

func byLoop(url, channel string, events int) {
	session, number := "", 0
	exchange := func(request request) []message {
		number++
		request.ID, request.ClientID = strconv.Itoa(number), session
		body, err := json.Marshal([]any{request})
		check(err)
		answer, err := http.Post(url, "application/json", bytes.NewReader(body))
		check(err)
		defer answer.Body.Close()
		body, err = io.ReadAll(answer.Body)
		check(err)
		var messages []message
		check(json.Unmarshal(body, &messages))
		return messages
	}
	types := []string{"long-polling"}
	session = exchange(request{Channel: "/meta/handshake", Version: "1.0", Types: types})[0].ClientID
	exchange(request{Channel: "/meta/subscribe", Subscription: channel})
	fmt.Println("ready")
	before := cpu()
	for events > 0 {
		for _, message := range exchange(request{Channel: "/meta/connect", Type: "long-polling"}) {
			if message.Channel == channel {
				events--
			}
		}
	}
	fmt.Println(cpu() - before)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
