// Prints what an event of 100 bytes costs a Go program, in µs of CPU: by this package, and by a loop of net/http and
// encoding/json that does the same long polling. Both are children of this process, which has the demo server publish,
// and run by turns: benchmark [DEMO_SERVER]
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
	"syscall"
	"time"

	"cometd"
)

const (
	responses = 1000
	rounds    = 5
	channel   = "/benchmark"
	pad       = 83 // {"n":1234,"pad":"…"} has 100 bytes
)

func main() {
	log.SetFlags(0)
	if len(os.Args) == 4 {
		events, err := strconv.Atoi(os.Args[3])
		check(err)
		map[string]func(string, int){"package": byPackage, "loop": byLoop}[os.Args[1]](os.Args[2], events)
		return
	}
	program := "../../build/bin/cometd_demo_server"
	if len(os.Args) > 1 {
		program = os.Args[1]
	}
	server := exec.Command(program, "--port", "0", "--quiet", "--exit-with-stdin", "--tick-ms", "0")
	input, err := server.StdinPipe()
	check(err)
	defer input.Close()
	output, err := server.StdoutPipe()
	check(err)
	check(server.Start())
	var port, control int
	_, err = fmt.Fscanf(output, "READY %d %d\n", &port, &control)
	check(err)

	fmt.Println("events a response   package   net/http loop   ratio   (CPU µs an event, median of", rounds, "rounds)")
	for _, batch := range []int{1, 10, 100} {
		costs := map[string][]float64{}
		for range rounds {
			for _, way := range []string{"package", "loop"} {
				costs[way] = append(costs[way], measure(way, port, control, batch))
			}
		}
		ours, theirs := median(costs["package"]), median(costs["loop"])
		fmt.Printf("%17d %9.2f %15.2f %7.2f\n", batch, ours, theirs, ours/theirs)
	}
}

// measure starts a receiver, feeds it, and reads from it what it has used.
func measure(way string, port, control, batch int) float64 {
	events := responses * batch
	receiver := exec.Command(os.Args[0], way, fmt.Sprintf("http://127.0.0.1:%d/cometd", port), fmt.Sprint(events))
	receiver.Stderr = os.Stderr
	output, err := receiver.StdoutPipe()
	check(err)
	check(receiver.Start())
	lines := bufio.NewReader(output)
	_, err = lines.ReadString('\n') // it has subscribed
	check(err)
	for range responses {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/publish?channel=%s&count=%d&size=%d", control, channel, batch, pad))
		check(err)
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		time.Sleep(time.Millisecond) // until the next connect is held
	}
	var used float64
	_, err = fmt.Fscan(lines, &used)
	check(err)
	check(receiver.Wait())
	return used / float64(events)
}

func cpu() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1000
}

func byPackage(url string, events int) {
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
	check(client.Disconnect(ctx))
}

type message struct {
	Channel    string          `json:"channel"`
	ClientID   string          `json:"clientId"`
	Successful bool            `json:"successful"`
	Data       json.RawMessage `json:"data"`
}

func byLoop(url string, events int) {
	session := ""
	exchange := func(fields map[string]any) []message {
		fields["clientId"] = session
		body, err := json.Marshal([]any{fields})
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
	connect := map[string]any{"channel": "/meta/connect", "connectionType": "long-polling"}
	reply := exchange(map[string]any{"channel": "/meta/handshake", "version": "1.0",
		"supportedConnectionTypes": []string{"long-polling"}})
	session = reply[0].ClientID
	exchange(map[string]any{"channel": "/meta/subscribe", "subscription": channel})
	fmt.Println("ready")
	before := cpu()
	for events > 0 {
		for _, message := range exchange(connect) {
			if message.Channel == channel {
				events--
			}
		}
	}
	fmt.Println(cpu() - before)
	exchange(map[string]any{"channel": "/meta/disconnect"})
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
