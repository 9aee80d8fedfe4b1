"""The CroCo family: DUSt3R, MonST3R, Align3R."""
