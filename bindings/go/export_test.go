package cometd

// Calls is how many calls have no outcome yet.
func Calls(client *Client) int {
	client.session.mu.Lock()
	defer client.session.mu.Unlock()
	return len(client.session.calls)
}
