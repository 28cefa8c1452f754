// Original file: broker/proto/lastmile/v1/admin.proto

import type { Long } from '@grpc/proto-loader';

export interface ExplainPolicyRequest {
  'workload'?: (string);
  'key'?: (string);
  'operation'?: (string);
  'algorithm'?: (string);
  'at'?: (string);
  'clockDoubtMs'?: (number | string | Long);
  'content'?: (string);
  'bytes'?: (number | string | Long);
  'version'?: (number);
  'evidence'?: (string)[];
  'peerAddress'?: (string);
  'facts'?: (string);
}

export interface ExplainPolicyRequest__Output {
  'workload': (string);
  'key': (string);
  'operation': (string);
  'algorithm': (string);
  'at': (string);
  'clockDoubtMs': (number);
  'content': (string);
  'bytes': (number);
  'version': (number);
  'evidence': (string)[];
  'peerAddress': (string);
  'facts': (string);
}
