import { describe, expect, it } from 'vitest';
import { parseTarget, uriNames } from './handshake.ts';

describe('target', () => {
  it.each([
    ['127.0.0.1:7443', { host: '127.0.0.1', port: 7443 }],
    ['[::1]:1', { host: '::1', port: 1 }],
    ['broker.internal:65535', { host: 'broker.internal', port: 65535 }],
  ])('%s is understood', (text, expected) => expect(parseTarget(text)).toEqual(expected));

  it.each(['', 'host', 'host:0', 'host:70000', 'dns:///host:1', '::1:7443', 'host:1/x'])(
    '%j is refused',
    (text) => {
      expect(() => parseTarget(text)).toThrow(
        expect.objectContaining({ reason: 'REQUEST_INVALID', performed: 'no' }),
      );
    },
  );
});

describe('URI names of a certificate', () => {
  it('are not found inside a quoted name of another kind', () => {
    expect(
      uriNames('DNS:"a, URI:spiffe://example.org/lastmile/broker, b", URI:spiffe://example.org/x'),
    ).toEqual(['spiffe://example.org/x']);
  });
  it('are undefined when the text is not understood', () => {
    expect(uriNames('DNS:"never closed, URI:spiffe://example.org/x')).toBeUndefined();
  });
});
