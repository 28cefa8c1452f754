// Original file: broker/proto/lastmile/v1/admin.proto


export interface ReloadPolicyRequest {
}

export interface ReloadPolicyRequest__Output {
}
