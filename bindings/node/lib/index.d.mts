export * from './index.js';
import * as cometd from './index.js';
export default cometd;
