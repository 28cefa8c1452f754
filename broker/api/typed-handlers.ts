import { isDeepStrictEqual } from 'node:util';
import type { Call, Caller } from '../keyuse/call.ts';
import { Failure } from '../keyuse/failure.ts';
import type { KeyUse } from '../keyuse/key-use.ts';
import type { SignCertificateRequest__Output } from '../proto/gen/lastmile/v1/SignCertificateRequest.ts';
import type { SignDsseRequest__Output } from '../proto/gen/lastmile/v1/SignDsseRequest.ts';
import type { SignJwtRequest__Output } from '../proto/gen/lastmile/v1/SignJwtRequest.ts';
import type { CertificateProfile } from '../typed/certificate-profile.ts';
import type { Applicant } from '../typed/sign-certificate.ts';
import { dsseRequest } from '../typed/sign-dsse.ts';
import { jwtRequest } from '../typed/sign-jwt.ts';
import type { TypedRequest } from '../typed/typed-request.ts';
import { message, reply } from './messages.ts';

type Handler = (caller: Caller, call: Call, payload: Uint8Array) => Promise<Uint8Array>;

export interface TypedSources {
  /** The profile of the policy in force, by its id. */
  readonly profileOf: (id: string) => CertificateProfile | undefined;
  /** Milliseconds of the Unix epoch. */
  readonly now: () => number;
}

/** Typed signing: what stands in a request becomes what its type says, key use does the rest. */
export function typedHandlers(
  keyUse: Pick<KeyUse, 'signTyped' | 'refuseTyped' | 'mayAskFor'>,
  sources: TypedSources,
  log: (leafIndex: number) => object,
): Readonly<Record<'SignJwt' | 'SignCertificate' | 'SignDsse', Handler>> {
  const jwt = message<SignJwtRequest__Output>('SignJwtRequest');
  const certificate = message<SignCertificateRequest__Output>('SignCertificateRequest');
  const dsse = message<SignDsseRequest__Output>('SignDsseRequest');
  const jwtResponse = reply('SignJwtResponse');
  const certificateResponse = reply('SignCertificateResponse');
  const dsseResponse = reply('SignDsseResponse');

  return {
    SignJwt: async (caller, call, payload) => {
      const request = jwt.decode(payload);
      call.waitsForApproval = request.waitForApproval;
      call.isEmergency = request.emergency;
      const typed = await made(caller, call, 'sign-jwt', request, () => jwtRequest(request, sources.now()));
      const done = await keyUse.signTyped(caller, call, typed);
      return jwtResponse({
        jwt: Buffer.from(done.result).toString('ascii'),
        version: done.version,
        log: log(done.leafIndex),
      });
    },
    SignCertificate: async (caller, call, payload) => {
      const request = certificate.decode(payload);
      call.waitsForApproval = request.waitForApproval;
      call.isEmergency = request.emergency;
      const { key, version, algorithm, profile, lifetimeSeconds } = request;
      const typed = await made(caller, call, 'sign-certificate', request, async () => {
        // Loaded by the first who asks: most brokers sign no certificates.
        const { certificateRequest } = await import('../typed/sign-certificate.ts');
        const made = sources.profileOf(profile);
        const typed = certificateRequest(
          // Field by field: a decoded message has what was not sent on its prototype, which a spread leaves behind.
          { key, version, algorithm, profile, lifetimeSeconds, applicant: applicantOf(request) },
          made,
          sources.now(),
        );
        // Rules look at facts; what else is signed is the profile's, and it may become another while this waits.
        return { ...typed, stands: () => isDeepStrictEqual(sources.profileOf(profile), made) };
      });
      const done = await keyUse.signTyped(caller, call, typed);
      return certificateResponse({
        certificate: done.result,
        version: done.version,
        log: log(done.leafIndex),
      });
    },
    SignDsse: async (caller, call, payload) => {
      const request = dsse.decode(payload);
      call.waitsForApproval = request.waitForApproval;
      call.isEmergency = request.emergency;
      const typed = await made(caller, call, 'sign-dsse', request, () => dsseRequest(request));
      const done = await keyUse.signTyped(caller, call, typed);
      return dsseResponse({ envelope: done.result, version: done.version, log: log(done.leafIndex) });
    },
  };

  /** A request that nothing can be made of is a refusal of key use like any other: on record before it is told. */
  async function made(
    caller: Caller,
    call: Call,
    operation: TypedRequest['operation'],
    request: { readonly key: string; readonly algorithm: string },
    make: () => TypedRequest | Promise<TypedRequest>,
  ): Promise<TypedRequest> {
    const { key, algorithm } = request;
    const asked = { operation, key, algorithm };
    if (!keyUse.mayAskFor(caller, operation, key)) {
      const denied = new Failure('POLICY_DENIED', 'the policy does not allow this');
      throw await keyUse.refuseTyped(caller, call, asked, denied);
    }
    try {
      return await make();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      throw await keyUse.refuseTyped(caller, call, asked, error);
    }
  }
}

function applicantOf(request: SignCertificateRequest__Output): Applicant | undefined {
  // protobufjs keeps unset members of a oneof off the object itself.
  if (Object.hasOwn(request, 'csr')) return { kind: 'csr', der: request.csr! };
  const { publicKey } = request;
  if (publicKey === undefined || publicKey === null) return undefined;
  return {
    kind: 'public-key',
    spki: publicKey.spki,
    subject: publicKey.subject,
    names: {
      dns: publicKey.dnsNames,
      uri: publicKey.uris,
      email: publicKey.emailAddresses,
      ip: publicKey.ipAddresses,
    },
  };
}
