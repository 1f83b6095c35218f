// Prints what comes on channels until it is interrupted: subscribe URL CHANNEL...
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"cometd"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: subscribe URL CHANNEL...")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2:]); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, channels []string) error {
	client, err := cometd.New(url, cometd.With("transports", []string{"websocket", "long-polling"}))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Connect(ctx); err != nil {
		return err
	}
	if err := client.Subscribe(ctx, channels...); err != nil {
		return err
	}
	for event := range client.Events(ctx) {
		switch event.Type {
		case cometd.EventMessage:
			fmt.Println(event.Channel, string(event.Data))
		case cometd.EventError:
			log.Print(event.Err)
		}
	}
	if ctx.Err() == nil {
		return client.Err()
	}
	// The context has ended; the farewell has one of its own.
	farewell, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return client.Disconnect(farewell)
}
