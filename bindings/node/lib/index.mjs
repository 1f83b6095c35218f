import cometd from './index.js';

export const { Client, CometDError, options, version } = cometd;
export default cometd;
