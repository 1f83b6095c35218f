'use strict';
// Writes the types of the options, which the library knows: node options.js >build/options.d.ts

const { options } = require('.');

const TYPES = {
  text: 'string', integer: 'number', integers: 'readonly [number, number]', boolean: 'boolean', json: 'object | string',
  pem: 'string',
};

function type(option) {
  const words = () => option.range.replace(/, or both.*/, '').split(', ').map(word => `'${word}'`).join(' | ');
  if (option.type === 'choice') return words();
  if (option.type === 'choices') return `${words()} | readonly (${words()})[]`;
  const one = TYPES[option.type] ?? 'string';
  if (['header', 'cookie', 'replay_position'].includes(option.name)) {
    const value = option.name === 'replay_position' ? 'number | string' : 'string';
    return `${one} | readonly ${one}[] | Readonly<Record<string, ${value}>>`;
  }
  // Numbers that have words beside them.
  if (option.name === 'replay') return "'new' | 'all' | number";
  return option.setter.includes('_builder_add_') ? `${one} | readonly ${one}[]` : one;
}

console.log('/** What a client is built with. */\nexport interface LibraryOptions {');
for (const option of options()) {
  if (option.name === 'own_receiver') continue;
  const name = option.name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
  const unset = option.default ? ` Default: ${option.default}.` : '';
  console.log(`  /** ${option.text} Values: ${option.range}.${unset} */`);
  console.log(`  ${name}?: ${type(option)};`);
}
console.log('}');
