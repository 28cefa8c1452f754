import type { PolicySet } from '../../policy/decision.ts';
import type { Approvals } from '../approvals/approvals.ts';
import { Failure } from '../keyuse/failure.ts';
import type { Freezes } from '../keyuse/freezes.ts';
import { type KeyAdministration, publishVersion } from '../keyuse/key-administration.ts';
import type { KeyCatalog, KeyVersion } from '../keyuse/key-catalog.ts';
import type { TokenKeys } from '../keyuse/token-keys.ts';
import type { CreateKeyRequest__Output } from '../proto/gen/lastmile/v1/CreateKeyRequest.ts';
import type { GetKeyRequest__Output } from '../proto/gen/lastmile/v1/GetKeyRequest.ts';
import type { ImportKeyRequest__Output } from '../proto/gen/lastmile/v1/ImportKeyRequest.ts';
import { agreementToKey, createdKey, importedKey, type KeyRequest } from './key-agreement.ts';
import { bounded, type Note, type OperatorMethods, type Permission } from './operator-methods.ts';

export interface KeyServices {
  readonly policy: () => PolicySet;
  readonly catalog: KeyCatalog;
  readonly administration: KeyAdministration;
  readonly keys: TokenKeys;
  readonly freezes: Freezes;
  readonly encryptionsReserved: (name: string, version: number) => number;
  /** Asked where the policy wants people to agree to a new key. Undefined: then no such key is made. */
  readonly approvals?: (() => Pick<Approvals, 'take'> | undefined) | undefined;
}

/** Admin's methods on keys: which there are, and making one, where the policy wants it after people have agreed. */
export function serveKeys({ serve, change, position }: OperatorMethods, services: KeyServices): void {
  /** Makes a key once people have agreed, where they have to. What was not made does not use their approval up. */
  async function withAgreement<T>(
    { caller }: Permission,
    asked: Omit<KeyRequest, 'requester'>,
    note: Note,
    make: () => Promise<T>,
  ): Promise<T> {
    const requester = caller.identity.spiffeId.id;
    const approval = await agreementToKey({ ...asked, requester }, services.policy(), services.approvals?.());
    if (approval === undefined) return make();
    note({ approval: approval.record });
    try {
      return await make();
    } catch (error) {
      if (error instanceof Failure && error.performed === 'no') approval.giveBack();
      throw error;
    }
  }

  function describeVersion(version: KeyVersion): object {
    const tokenName = (serial: string): string => services.keys.tokenOf(serial)?.name ?? serial;
    const { pem, kid } = publishVersion(version);
    return {
      key: version.name,
      version: version.version,
      purpose: version.purpose,
      algorithms: version.algorithms,
      state: services.freezes.isFrozen('key', version.name) ? `${version.state}, frozen` : version.state,
      createdAt: version.createdAt,
      provenance: version.provenance,
      // By name, as an operator knows them: the catalog has them by serial.
      tokens: version.objects.map((object) => tokenName(object.tokenSerial)).sort(),
      provenOn: services.keys
        .bindings(version.id)
        .map(({ token }) => token.name)
        .sort(),
      verify: version.verify,
      publicKeyPem: pem,
      kid,
      encryptionsReserved: services.encryptionsReserved(version.name, version.version),
      decryptOnly: version.decryptOnly,
      rawSigning: version.rawSigning,
    };
  }

  serve('Admin', 'ListKeyVersions', () => ({ keys: services.catalog.all().map(describeVersion) }));
  serve<GetKeyRequest__Output>('Admin', 'GetKey', ({ key }) => {
    const versions = services.catalog.versions(key);
    if (versions.length === 0) throw new Failure('REQUEST_INVALID', 'there is no key of that name');
    return { versions: versions.map(describeVersion) };
  });
  serve<CreateKeyRequest__Output>('Admin', 'CreateKey', async (request, permission) => {
    const { value, leafIndex } = await change(
      permission,
      {
        algorithms: request.algorithms.slice(0, 8).map(bounded),
        tokens: request.tokens.slice(0, 16).map(bounded),
        verify: bounded(request.verify),
        ...(request.rawSigning ? { rawSigning: true } : {}),
      },
      (note) =>
        withAgreement(
          permission,
          { method: 'Admin.CreateKey', key: request.key, wanted: createdKey(request) },
          note,
          () => services.administration.create(request),
        ),
      { key: bounded(request.key) },
    );
    return { versions: [describeVersion(value)], log: position(leafIndex) };
  });
  serve<ImportKeyRequest__Output>('Admin', 'ImportKey', async (request, permission) => {
    const { value, leafIndex } = await change(
      permission,
      {
        algorithms: request.algorithms.slice(0, 8).map(bounded),
        token: bounded(request.token),
        source: request.source ?? '',
        ...(request.rawSigning ? { rawSigning: true } : {}),
      },
      (note) => {
        // Field by field: a decoded message has what was not sent on its prototype, which a spread leaves behind.
        const { key, purpose, algorithms, token, verify, rawSigning } = request;
        const source = importSource(request);
        return withAgreement(
          permission,
          { method: 'Admin.ImportKey', key, wanted: importedKey(request) },
          note,
          () =>
            services.administration.importKey({
              key,
              purpose,
              algorithms,
              token,
              verify,
              rawSigning,
              source,
            }),
        );
      },
      { key: bounded(request.key) },
    );
    return { version: describeVersion(value), log: position(leafIndex) };
  });
}

function importSource(request: ImportKeyRequest__Output) {
  if (request.source === 'ckaId') return { ckaId: request.ckaId ?? '' };
  if (request.source === 'label') return { label: request.label ?? '' };
  const { wrapped } = request;
  if (wrapped === null || wrapped === undefined)
    throw new Failure('REQUEST_INVALID', 'name cka_id, label or wrapped');
  return {
    blob: wrapped.blob,
    unwrappingKeyId: wrapped.unwrappingKey,
    mechanism: wrapped.mechanism,
    publicKeyPem: wrapped.publicKeyPem,
  };
}
