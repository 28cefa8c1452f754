import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Pin, PinError } from './login.ts';

describe('PIN', () => {
  let directory: string;
  beforeAll(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lastmile-pin-'));
  });
  afterAll(() => fs.rmSync(directory, { recursive: true }));

  function read(content: string): Pin {
    const file = path.join(directory, 'pin');
    fs.writeFileSync(file, content);
    return Pin.read({ file });
  }

  it.each([
    ['1234\n', '1234'],
    ['1234', '1234'],
    ['12 34\r\n', '12 34'],
    ['1234\n\n', '1234\n'],
  ])('reads %j as %j', (content, pin) => {
    expect(read(content).use((text) => text)).toBe(pin);
  });

  it('can be used once, also when that fails', () => {
    const pin = read('1234');
    expect(() =>
      pin.use(() => {
        throw new Error('refused');
      }),
    ).toThrow('refused');
    expect(() => pin.use((text) => text)).toThrow(PinError);
  });

  it('is not there any more once forgotten', () => {
    const pin = read('1234');
    pin.forget();
    expect(() => pin.use((text) => text)).toThrow(PinError);
  });

  it.each([
    ['', 'empty'],
    ['\n', 'empty'],
    ['7'.repeat(1025), 'more than 1024 bytes'],
  ])('refuses %j', (content, message) => {
    expect(() => read(content)).toThrow(message);
  });

  it('names the file that cannot be opened, and no content', () => {
    expect(() => Pin.read({ file: path.join(directory, 'none') })).toThrow(/none` cannot be opened: ENOENT/);
    expect(() => Pin.read({ file: directory })).toThrow(/cannot be read: EISDIR/);
  });
});
