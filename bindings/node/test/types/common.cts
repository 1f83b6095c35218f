import cometd = require('cometd-native');

export function make(url: URL): cometd.Client {
  return new cometd.Client(url).unref();
}
