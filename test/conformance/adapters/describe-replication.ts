import { createPublicKey, publicEncrypt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TokenAdapter } from '../../../hsm-adapters/adapter.ts';
import { type AdapterUnderTest, inputFor, kindOf, newId, SPECS, verifies } from './describe-adapter.ts';
import { failureOf, type ModuleUnderTest, type OpenToken, openToken, soon } from './module-under-test.ts';

const MESSAGE = Buffer.from('either token');
const AAD = Buffer.from('lastmile conformance');

/** One key on two tokens, without ever being in the clear; and what a module does not wrap is refused by name. */
export function describeReplication(
  { profile, tokens }: AdapterUnderTest,
  open: () => { readonly module: ModuleUnderTest; readonly source: TokenAdapter },
): void {
  const makeable = SPECS.filter(
    ([, spec, , algorithms]) =>
      profile.makes.includes(spec.type) && !algorithms.every((name) => profile.lacks.includes(name)),
  );
  const wraps = profile.keyWrap.aesKwp === undefined ? [] : profile.keyWrap.wraps;
  const able = makeable.filter(([, spec]) => wraps.includes(spec.type));
  const unable = makeable.filter(([, spec]) => !wraps.includes(spec.type));

  describe('replication', () => {
    if (able.length > 0 && tokens === 2) {
      let other: OpenToken;
      beforeAll(async () => {
        const { module } = open();
        other = openToken(module, module.tokens[1]!);
        expect(await other.settles(), other.log.join('\n')).toBe('ready');
      });
      afterAll(() => other?.adapter.close());

      it.each(able)('puts one %s key on two tokens', async (_name, spec, purpose, algorithms) => {
        const { source } = open();
        const destination = other.adapter;
        const ckaId = newId();
        const object = { ckaId, label: `test/${ckaId}`, spec, purpose };
        const { transport, publicKey } = await destination.administration.openReplicaTransport();
        const made = await source.administration.generateReplicated(object, [publicKey]);
        const received = await destination.administration.receiveReplica(
          transport,
          object,
          made.replicas[0]!,
        );
        expect(received).toEqual(made.attributes);
        expect(received).toMatchObject({
          spec,
          sensitive: true,
          extractable: false,
          local: profile.omits.includes('CKA_LOCAL'),
        });
        const query = { ckaId, kind: kindOf(purpose, spec) };
        for (const adapter of [source, destination]) await adapter.administration.bind(500_000, query);
        const algorithm = algorithms.find((name) => !profile.lacks.includes(name))!;
        if (algorithm === 'A256GCM') {
          const { iv, sealed } = await source.encrypt(500_000, MESSAGE, AAD, soon());
          const opened = await destination.decrypt(
            { object: 500_000, algorithm, iv, sealed, associatedData: AAD },
            soon(),
          );
          expect(Buffer.from(opened)).toEqual(MESSAGE);
          return;
        }
        if (algorithm === 'RSA-OAEP-256') {
          const key = createPublicKey({ key: Buffer.from(received.publicKey), format: 'der', type: 'spki' });
          const sealed = publicEncrypt({ key, oaepHash: 'sha256' }, MESSAGE);
          const none = new Uint8Array(0);
          const operation = { object: 500_000, algorithm, iv: none, sealed, associatedData: none };
          for (const adapter of [source, destination])
            expect(Buffer.from(await adapter.decrypt(operation, soon()))).toEqual(MESSAGE);
          return;
        }
        const operation = { object: 500_000, algorithm, data: inputFor(algorithm, MESSAGE) };
        const [here, there] = [
          await source.sign(operation, soon()),
          await destination.sign(operation, soon()),
        ];
        if (purpose === 'mac') expect(there).toEqual(here);
        else
          for (const signature of [here, there])
            expect(verifies(algorithm, received.publicKey, MESSAGE, signature)).toBe(true);
      });
    }

    if (unable.length > 0)
      it.each(unable)('declares that it replicates no %s key', async (_name, spec, purpose) => {
        const { source } = open();
        const object = { ckaId: newId(), label: 'declared missing', spec, purpose };
        expect(await failureOf(source.administration.generateReplicated(object, []))).toMatchObject({
          reason: 'OPERATION_UNSUPPORTED',
          performed: 'no',
        });
      });
  });
}
