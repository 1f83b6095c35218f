import cometd from './index.js';

export const { Client, CometDError, FileReplayStore, channelMatches, log, options, version } = cometd;
export default cometd;
