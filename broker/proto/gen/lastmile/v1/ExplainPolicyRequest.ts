// Original file: broker/proto/lastmile/v1/admin.proto


export interface ExplainPolicyRequest {
  'workload'?: (string);
  'key'?: (string);
  'operation'?: (string);
  'algorithm'?: (string);
}

export interface ExplainPolicyRequest__Output {
  'workload': (string);
  'key': (string);
  'operation': (string);
  'algorithm': (string);
}
