import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

// uint64 travels as a JavaScript number: tree sizes and counts stay below 2^53 by construction (2^53 entries at
// 20,000 a second are 14,000 years), and no caller-chosen value is a uint64.
protobuf.util.Long = null as unknown as typeof protobuf.util.Long;
protobuf.configure();

// An unset `bytes` field reads as protobufjs's default, which is an empty *array*: nothing that takes bytes takes that.
(protobuf.types.defaults as { bytes: unknown }).bytes = new Uint8Array(0);

// A string that announces more bytes than there are makes a message malformed; protobufjs would cut it short, and a
// name cut short is another name.
const readString = protobuf.BufferReader.prototype.string;
protobuf.BufferReader.prototype.string = function (this: protobuf.BufferReader): string {
  const start = this.pos;
  const length = this.uint32();
  if (length > this.len - this.pos) throw new RangeError('a string is longer than its message');
  this.pos = start;
  return readString.call(this);
};

/** Encodes and decodes one protobuf message type. */
export interface Codec<In, Out> {
  /** @throws Error when `value` has a field of the wrong type */
  encode(value: In): Buffer;
  /** @throws Error when `bytes` is not a message of this type. Unset scalar fields read as proto3 defaults. */
  decode(bytes: Uint8Array): Out;
}

const root = new protobuf.Root();
const base = fileURLToPath(new URL('./', import.meta.url));
root.resolvePath = (_origin, target) => (target.startsWith('google/protobuf/') ? target : base + target);
root.loadSync(
  [
    'google/rpc/status.proto',
    'grpc/health/v1/health.proto',
    'lastmile/v1/common.proto',
    'lastmile/v1/key_use.proto',
    'lastmile/v1/admin.proto',
    'lastmile/v1/audit.proto',
    'lastmile/v1/approvals.proto',
  ],
  { keepCase: false },
);

/** The codec of the message with this full name, such as `lastmile.v1.SignRequest`. */
export function codec<In extends object, Out extends object>(fullName: string): Codec<In, Out> {
  const type = root.lookupType(fullName);
  return {
    encode: (value) => type.encode(value as { [k: string]: unknown }).finish() as Buffer,
    decode: (bytes) => type.decode(bytes) as unknown as Out,
  };
}

/** Every method of every service of the public contract, in the order of the .proto files. */
export function declaredMethods(): readonly DeclaredMethod[] {
  const found: DeclaredMethod[] = [];
  for (const name of ['KeyUse', 'Admin', 'Audit', 'Approvals'] as const) {
    for (const method of root.lookupService(`lastmile.v1.${name}`).methodsArray) {
      found.push({
        service: name,
        name: method.name,
        requestType: `lastmile.v1.${method.requestType}`,
        responseType: `lastmile.v1.${method.responseType}`,
        streaming: method.requestStream === true,
      });
    }
  }
  return found;
}

export interface DeclaredMethod {
  readonly service: 'KeyUse' | 'Admin' | 'Audit' | 'Approvals';
  readonly name: string;
  readonly requestType: string;
  readonly responseType: string;
  readonly streaming: boolean;
}
