import type { MethodDefinition } from '@grpc/proto-loader';
import { codec } from '../proto/codec.ts';
import type { UnaryMethod } from './transport.ts';

/** What a method of a generated service definition takes. */
export type RequestOf<Definition> =
  Definition extends MethodDefinition<infer Request, infer _Response, infer _Received, infer _Output>
    ? Request
    : never;

/** What it answers, as it is read. */
export type ResponseOf<Definition> =
  Definition extends MethodDefinition<infer _Request, infer _Response, infer _Received, infer Output>
    ? Output
    : never;

/** A method of `lastmile.v1`. `messages`: what its request and response are named after, by default the method. */
export function unaryMethod<In extends object, Out extends object>(
  service: 'KeyUse' | 'Admin' | 'Audit' | 'Approvals',
  name: string,
  messages: string = name,
): UnaryMethod<In, Out> {
  return {
    path: `/lastmile.v1.${service}/${name}`,
    request: codec<In, never>(`lastmile.v1.${messages}Request`),
    response: codec<never, Out>(`lastmile.v1.${messages}Response`),
  };
}
