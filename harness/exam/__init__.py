"""The examiner: joins results with the rig's hidden truth; nothing else may."""
