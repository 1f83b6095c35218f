// node example.mjs http://127.0.0.1:8080/cometd /ticks
import { Client } from 'cometd-native';

const [url, channel] = process.argv.slice(2);
const client = new Client(url);
client.on('failure', error => console.error(error.message));
process.once('SIGINT', () => client.disconnect());

await client.connect();
await client.subscribe(channel);
console.log('subscribed');
for await (const message of client.messages()) {
  console.log(message.channel, JSON.stringify(message.data));
}
